#include <fstream>

#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/methods/adapter.h"
#include "tests/support/mutations.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

const ClassNames kClasses{{"dog", "owl"}};

/// Settings that make the methods' networks small.
Config small_config(const Method& method) {
  Config config(method.schema);
  for (const char* setting : {"dpl.width=8", "dpspg.hidden=8"}) {
    const std::string key = std::string(setting).substr(0, std::string(setting).find('='));
    if (config.has(key)) config.set(setting, "test");
  }
  return config;
}

void save(const std::filesystem::path& folder, const Method& method, Learner& learner) {
  save_adapter(folder,
               {method.name, small_config(method).to_json(), "small", small_model()->weight_hash(), kClasses, "", "", 7,
                nullptr, ""},
               learner);
}

TEST(EveryMethod, ComesBackFromDiskTensorByTensor) {
  for (const Method& method : methods()) {
    const TemporaryFolder folder;
    const auto learner = method.make(small_model(), kClasses, small_config(method), 7);
    save(folder.path(), method, *learner);
    const TensorMap loaded = load_adapter(folder.path(), small_model())->state();
    EXPECT_EQ(loaded.size(), learner->state().size()) << method.name;
    for (const auto& [name, tensor] : learner->state()) EXPECT_TRUE(tensor.equal(loaded.at(name))) << name;
  }
}

TEST(EveryMethod, LoadsADamagedAdapterOrRefusesItWithAnError) {
  for (const Method& method : methods()) {
    SCOPED_TRACE(method.name);
    const TemporaryFolder folder;
    save(folder.path(), method, *method.make(small_model(), kClasses, small_config(method), 7));
    const auto damage = [&](const char* file, std::size_t most, int times) {
      const std::string good = read_file(folder.path() / file), head = good.substr(0, most);
      const int refused = refusals(times, [&](KeyedRandom& random) {
        std::ofstream(folder.path() / file, std::ios::binary) << damaged(head, random) + good.substr(head.size());
        load_adapter(folder.path(), small_model());
      });
      std::ofstream(folder.path() / file, std::ios::binary) << good;
      return refused;
    };
    EXPECT_GT(damage("adapter_config.json", 4096, 5), 0);
    // Without a tensor there is next to nothing to damage.
    damage("adapter_model.safetensors", 512, 5);
    load_adapter(folder.path(), small_model());
  }
}

}  // namespace
}  // namespace attune
