#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include "attune/diffusion/unet.h"
#include "attune/tensors/device.h"

namespace attune {
namespace {

Tensor draw(at::IntArrayRef shape) {
  KeyedRandom random(1, "micro");
  return normal(shape, 0.0, 1.0, random);
}

/// 0: the network of models/sketch. 1: that of Stable Diffusion 1 with half of its channels, on maps of 32 x 32.
UNetConfig network(std::int64_t which) {
  UNetConfig config;
  config.sample_size = 32;
  if (which == 1) {
    config.channels = {160, 320, 640, 640};
    return config;
  }
  config.in_channels = config.out_channels = 3;
  config.channels = {16, 32, 64, 80};
  config.attention_down = {false, false, true, true};
  config.attention_up = {true, true, false, false};
  config.layers = {1, 1, 1, 1};
  config.heads = {4, 4, 4, 4};
  config.hidden_width = 192;
  config.groups = 16;
  return config;
}

/// A step of a search: the gradient of rows that a frozen network is steered by.
void search_step(benchmark::State& state, const UNet& unet, std::int64_t rows) {
  const UNetConfig& config = unet.config();
  const std::int64_t batch = state.range(1);
  const Tensor maps = draw({batch, config.in_channels, config.sample_size, config.sample_size});
  const Tensor steps = at::arange(batch, at::kLong) * 100, target = draw(maps.sizes());
  const Tensor hidden = draw({1, rows, config.hidden_width}).requires_grad_(true);
  const auto step = [&] {
    const Tensor loss = at::mse_loss(unet.predict(maps, steps, hidden), target);
    benchmark::DoNotOptimize(torch::autograd::grad({loss}, {hidden}));
  };
  step();  // packs the weights
  for (auto _ : state) step();
}

constexpr std::int64_t kRows[] = {32, 77};  // of a text, by network

void packed_layers(benchmark::State& state) {
  const UNetConfig config = network(state.range(0));
  const auto unet = make_frozen_unet(config, {random_unet_tensors(config, 1), "random"});
  search_step(state, *unet, kRows[state.range(0)]);
}

/// The same through LibTorch's linear layers, with weights that ask for no gradient either.
void libtorch_layers(benchmark::State& state) {
  const UNetConfig config = network(state.range(0));
  const TrainableUNet unet(config, {random_unet_tensors(config, 1), "random"});
  for (const auto& [name, leaf] : unet.parameters()) leaf.set_requires_grad(false);
  search_step(state, unet, kRows[state.range(0)]);
}

void sizes(benchmark::internal::Benchmark* set) {
  set->Args({0, 8})->Args({1, 1})->ArgNames({"network", "batch"})->Unit(benchmark::kMillisecond);
}
BENCHMARK(packed_layers)->Apply(sizes);
BENCHMARK(libtorch_layers)->Apply(sizes);

}  // namespace
}  // namespace attune

int main(int count, char** arguments) {
  attune::set_threads(1);
  attune::flush_denormals();
  attune::keep_freed_memory();
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
