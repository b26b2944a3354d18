#include "attune/tensors/tensor.h"

#include <cmath>

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/tensors/device.h"
#include "attune/tensors/processor.h"

namespace attune {
namespace {

TensorMap one_of_each_type() {
  TensorMap tensors;
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kHalf, at::kBFloat16, at::kInt, at::kFloat,
                          at::kDouble, at::kLong, at::kUInt16, at::kUInt32, at::kUInt64}) {
    tensors[std::string("t.") + c10::toString(type)] = at::arange(6).remainder(2).to(type).view({2, 3});
  }
  tensors["empty"] = at::empty({0, 4});
  tensors["number"] = at::scalar_tensor(2.5);
  return tensors;
}

void expect_equal(const TensorMap& found, const TensorMap& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(found.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(found.at(name).sizes(), tensor.sizes()) << name;
    EXPECT_TRUE(at::equal(found.at(name).to(at::kDouble), tensor.to(at::kDouble))) << name;
  }
}

TEST(TensorFiles, KeepEveryTypeAndShape) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  save_tensors(path, one_of_each_type(), {{"format", "pt"}});
  expect_equal(load_tensors(path), one_of_each_type());
  expect_equal(map_tensors(path), one_of_each_type());
}

TEST(TensorFiles, TakeTensorsThatDoNotLieTogether) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const Tensor turned = at::arange(12, at::kFloat).view({3, 4}).t();
  save_tensors(path, {{"turned", turned}});
  EXPECT_TRUE(at::equal(load_tensors(path).at("turned"), turned));
}

TEST(TensorFiles, MappedTensorsKeepTheirFile) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  save_tensors(path, {{"a", at::arange(1000, at::kFloat)}, {"b", at::ones({3})}});
  Tensor kept = map_tensors(path).at("a");
  std::filesystem::remove(path);
  EXPECT_EQ(kept.sum().item<float>(), 499500.0F);
}

TEST(TensorFiles, RefuseWhatTheyCannotHold) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  EXPECT_THROW(save_tensors(path, {{"c", at::ones({2}, at::kComplexFloat)}}), Error);
  EXPECT_THROW(save_tensors(path, {{"u", Tensor()}}), Error);
  EXPECT_THROW(view_of(at::ones({2, 3}).t()), Error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(RandomTensors, DependOnTheirKeyAndHaveTheirMoments) {
  KeyedRandom first(1, "a");
  KeyedRandom again(1, "a");
  KeyedRandom other(1, "b");
  const Tensor drawn = normal({100, 100}, 2.0, 3.0, first);
  EXPECT_TRUE(at::equal(drawn, normal({100, 100}, 2.0, 3.0, again)));
  EXPECT_FALSE(at::equal(drawn, normal({100, 100}, 2.0, 3.0, other)));
  EXPECT_NEAR(drawn.mean().item<double>(), 2.0, 0.15);
  EXPECT_NEAR(drawn.std().item<double>(), 3.0, 0.15);
  const Tensor flat = uniform({10000}, -1.0, 3.0, first);
  EXPECT_GE(flat.min().item<double>(), -1.0);
  EXPECT_LT(flat.max().item<double>(), 3.0);
  EXPECT_NEAR(flat.mean().item<double>(), 1.0, 0.06);
}

TEST(Device, AMissingGpuIsAnError) {
  EXPECT_EQ(choose_device("cpu"), at::Device(at::kCPU));
  EXPECT_THROW(choose_device("cuda:99"), UsageError);
  EXPECT_THROW(choose_device("cuda:x"), UsageError);
  EXPECT_THROW(choose_device("gpu"), UsageError);
  if (!at::hasCUDA()) {
    EXPECT_EQ(choose_device("auto"), at::Device(at::kCPU));
    EXPECT_THROW(choose_device("cuda"), UsageError);
  }
}

TEST(Device, PrecisionIsCheckedAgainstTheDevice) {
  EXPECT_EQ(choose_precision("fp32", at::kCPU), at::kFloat);
  EXPECT_THROW(choose_precision("fp16", at::kCPU), UsageError);
  EXPECT_THROW(choose_precision("int4", at::kCPU), UsageError);
  if (processor().int8) {
    EXPECT_EQ(choose_precision("int8", at::kCPU), at::kChar);
  } else {
    EXPECT_THROW(choose_precision("int8", at::kCPU), UsageError);
  }
  EXPECT_THROW(choose_precision("int8", at::Device(at::kCUDA, 0)), UsageError);
  EXPECT_EQ(choose_precision("bf16", at::Device(at::kCUDA, 0)), at::kBFloat16);
  EXPECT_EQ(choose_precision("fp16", at::Device(at::kCUDA, 0)), at::kHalf);
}

TEST(Device, DenormalsBecomeZero) {
  flush_denormals();
  const Tensor tiny = at::full({8}, 1e-30F) * 1e-12F;
  EXPECT_EQ(tiny.abs().max().item<float>(), 0.0F);
}

}  // namespace
}  // namespace attune
