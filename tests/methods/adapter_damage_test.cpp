#include <fstream>

#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/methods/adapter.h"
#include "tests/support/mutations.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

/// A good adapter, whose files are then replaced by damaged ones.
struct DamagedAdapter : testing::Test {
  const std::shared_ptr<const ClipModel> model = small_model();
  const TemporaryFolder folder;

  void save(const std::string& name) {
    const Method& method = find_method(name);
    const Config config(method.schema);
    const ClassNames classes{{"dog", "owl"}};
    save_adapter(folder.path(),
                 {name, config.to_json(), "tiny", model->weight_hash(), classes, "pets", "abc", 7, nullptr, "0.1.0"},
                 *method.make(model, classes, config, 7));
  }
  std::string content(const char* file) const { return read_file(folder.path() / file); }
  /// Not write_file, which waits for the disk.
  void replace(const char* file, const std::string& content) const {
    std::ofstream(folder.path() / file, std::ios::binary) << content;
  }
};

TEST_F(DamagedAdapter, LoadsOrIsRefusedWithAnErrorWhateverItsConfigurationSays) {
  for (const char* method : {"coop", "linear_probe"}) {
    save(method);
    const std::string text = content("adapter_config.json");
    const Json good = parse_json(text, "good");
    const int values = refusals(600, [&](KeyedRandom& random) {
      replace("adapter_config.json", damaged(good, random).dump());
      load_adapter(folder.path(), model);
    });
    const int bytes = refusals(600, [&](KeyedRandom& random) {
      replace("adapter_config.json", damaged(text, random));
      load_adapter(folder.path(), model);
    });
    EXPECT_GT(values, 200) << method;
    EXPECT_GT(bytes, 200) << method;
  }
}

TEST_F(DamagedAdapter, LoadsOrIsRefusedWithAnErrorWhateverItsWeightsHold) {
  save("coop");
  const std::string good = content("adapter_model.safetensors");
  const std::string head = good.substr(0, 256);
  const int refused = refusals(1000, [&](KeyedRandom& random) {
    replace("adapter_model.safetensors", damaged(head, random) + good.substr(head.size()));
    load_adapter(folder.path(), model);
  });
  EXPECT_GT(refused, 500);
  save("coop");
  load_adapter(folder.path(), model);
}

}  // namespace
}  // namespace attune
