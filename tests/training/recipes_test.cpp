#include <gtest/gtest.h>

#include "attune/methods/method_files.h"
#include "attune/methods/registry.h"
#include "attune/training/run_settings.h"
#include "attune/training/trainer.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

TEST(EveryRecipe, IsARunOfTheMethodWhoseFolderItLiesIn) {
  const std::filesystem::path recipes = std::filesystem::path(ATTUNE_SOURCE_DIR) / "recipes";
  int found = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(recipes)) {
    const std::filesystem::path& path = entry.path();
    const std::string folder = path.parent_path().filename().string();
    const std::string name = folder == "domains" ? "gdpl" : folder;  // one recipe a domain
    const bool run = std::any_of(methods().begin(), methods().end(), [&](const Method& m) { return m.name == name; });
    if (!run || path.extension() != ".yaml") continue;
    SCOPED_TRACE(path.string());
    ++found;
    const Config config = run_config({path, "", {}});
    EXPECT_EQ(config.text("method"), name);
    RunSettings{config};
    TrainSettings{config};
    const Method& method = find_method(name);
    Json named = config.to_json();
    for_each_named_file(named, [](const std::string&, Json& file) {
      EXPECT_TRUE(std::filesystem::exists(file.get<std::string>())) << file;
    });
    Config own(method.schema);
    const Json values = method_config(config);
    for (const auto& [key, value] : values.items()) own.set(key, value, path.string());
    EXPECT_NE(method.make(small_model(), {{"dog", "owl"}}, own, 1), nullptr);
  }
  EXPECT_GE(found, 24);
}

}  // namespace
}  // namespace attune
