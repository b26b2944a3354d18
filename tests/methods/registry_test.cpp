#include "attune/methods/registry.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/methods/adapter.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Registry, NamesTheNearestMethod) {
  EXPECT_THAT([] { find_method("cop"); }, ThrowsMessage<UsageError>(HasSubstr("did you mean \"coop\"")));
  EXPECT_EQ(find_method("zero_shot").name, "zero_shot");
}

TEST(Registry, SplitsAChoiceIntoAssignments) {
  const MethodChoice choice = parse_method("coop:context.init=a photo, of a,context.length=4");
  EXPECT_EQ(choice.name, "coop");
  EXPECT_THAT(choice.assignments, ElementsAre("context.init=a photo, of a", "context.length=4"));
  EXPECT_TRUE(parse_method("coop").assignments.empty());
  EXPECT_THAT([] { parse_method("coop:16"); }, ThrowsMessage<UsageError>(HasSubstr("key=value")));
}

TEST(Adapter, ComesBackAsItWasSaved) {
  const TemporaryFolder folder;
  const auto model = std::make_shared<const ClipModel>(load_model(kSmallModel));
  const Method& coop = find_method("coop");
  const Config config(coop.schema);
  const ClassNames classes{{"dog", "owl"}};
  const auto learner = coop.make(model, classes, config, 7);
  save_adapter(folder.path() / "adapter",
               {"coop", config.to_json(), "tiny", model->weight_hash(), classes, "pets", "abc", 7, nullptr, "0.1.0"},
               *learner);

  const auto again = load_adapter(folder.path() / "adapter", model);
  EXPECT_TRUE(again->state().at("context").equal(learner->state().at("context")));
  const AdapterInfo info = read_adapter_info(folder.path() / "adapter");
  EXPECT_THAT(info.classes.names, ElementsAre("dog", "owl"));
  EXPECT_EQ(info.seed, 7u);
}

TEST(Adapter, IsRefusedOnAnotherBaseModel) {
  const TemporaryFolder folder;
  const auto model = std::make_shared<const ClipModel>(load_model(kSmallModel));
  const Method& coop = find_method("coop");
  const Config config(coop.schema);
  const auto learner = coop.make(model, {{"dog"}}, config, 7);
  save_adapter(folder.path(),
               {"coop", config.to_json(), "other", std::string(64, 'f'), {{"dog"}}, "", "", 7, nullptr, ""}, *learner);
  EXPECT_THAT([&] { load_adapter(folder.path(), model); },
              ThrowsMessage<Error>(AllOf(HasSubstr(std::string(64, 'f')), HasSubstr(model->weight_hash()))));
}

TEST(Adapter, NamesTheFileAndMemberThatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { read_adapter_info(folder.path()); }, ThrowsMessage<Error>(HasSubstr("adapter_config.json")));
  write_file(folder.path() / "adapter_config.json", "{\"method\": 3}");
  EXPECT_THAT([&] { read_adapter_info(folder.path()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("adapter_config.json"), HasSubstr("method"))));
  write_file(folder.path() / "adapter_config.json", "{\"method\":");
  EXPECT_THAT([&] { read_adapter_info(folder.path()); }, ThrowsMessage<Error>(HasSubstr("expected JSON")));
}

}  // namespace
}  // namespace attune
