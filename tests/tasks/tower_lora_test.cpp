#include "attune/tasks/tower_lora.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/tasks/owl_vit.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing_support::kData;

TEST(TowerLora, RefusesTensorsThatDoNotFit) {
  LoadOptions options;
  options.text = false;
  const VisionConfig config = OwlVit::load(kData / "owl_vit", options).config().vision;
  EXPECT_TRUE(tower_lora({}, config).blocks.empty());
  const auto message = [&](const std::function<void(TensorMap&)>& change) {
    TensorMap tensors = first_tower_lora(config, 3, 1);
    change(tensors);
    return error_of([&] { tower_lora(tensors, config); });
  };
  EXPECT_EQ(message([](TensorMap&) {}), "");
  EXPECT_THAT(message([](TensorMap& t) { t.erase("1.v.up"); }), HasSubstr("1.v.up"));
  EXPECT_THAT(message([](TensorMap& t) { t["7.v.up"] = at::zeros({40, 3}); }), HasSubstr("7.v.up"));
  EXPECT_THAT(message([](TensorMap& t) { t["0.q.down"] = at::zeros({2, 40}); }), HasSubstr("\""));
  EXPECT_THAT(message([](TensorMap& t) { t["0.q.down"] = at::zeros({900, 40}); }), HasSubstr("\""));
}

}  // namespace
}  // namespace attune
