#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include "attune/tensors/device.h"
#include "attune/tensors/layers.h"
#include "attune/tensors/linear.h"
#include "attune/tensors/sequence_attention.h"

namespace attune {
namespace {

Tensor draw(at::IntArrayRef shape) {
  KeyedRandom random(1, "micro");
  return normal(shape, 0.0, 1.0, random);
}

/// The layers of ViT-B/16: {rows, in, out}. Text tower: 100 class names behind one context; image tower: 8 pictures.
void layers(benchmark::internal::Benchmark* set) {
  for (const auto& [rows, width] : {std::pair(617, 512), std::pair(1576, 768)}) {
    for (const auto& [in, out] : {std::pair(1, 3), std::pair(1, 1), std::pair(1, 4), std::pair(4, 1)}) {
      set->Args({rows, in * width, out * width});
    }
  }
  set->ArgNames({"rows", "in", "out"})->Unit(benchmark::kMillisecond)->UseRealTime();
}

struct Layer {
  explicit Layer(const benchmark::State& state)
      : weight(draw({state.range(2), state.range(1)})),
        bias(draw({state.range(2)})),
        input(draw({state.range(0), state.range(1)})),
        gradient(draw({state.range(0), state.range(2)})) {}
  Tensor weight, bias, input, gradient;
};

void count(benchmark::State& state) {
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * static_cast<double>(state.range(0) * state.range(1) * state.range(2)),
                         benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void frozen_forward(benchmark::State& state) {
  const Layer given(state);
  const FrozenLinear layer(given.weight, given.bias);
  const at::NoGradGuard no_gradients;
  for (auto _ : state) benchmark::DoNotOptimize(layer(given.input));
  count(state);
}
BENCHMARK(frozen_forward)->Apply(layers);

void libtorch_forward(benchmark::State& state) {
  const Layer given(state);
  const at::NoGradGuard no_gradients;
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(given.input, given.weight, given.bias));
  count(state);
}
BENCHMARK(libtorch_forward)->Apply(layers);

/// The gradient of the input again and again through one graph.
void run_backward(benchmark::State& state, const Tensor& output, const Tensor& input, const Tensor& gradient) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(torch::autograd::grad({output}, {input}, {gradient}, /*retain_graph=*/true));
  }
  count(state);
}

void frozen_backward(benchmark::State& state) {
  const Layer given(state);
  const Tensor input = given.input.clone().requires_grad_(true);
  run_backward(state, FrozenLinear(given.weight, given.bias)(input), input, given.gradient);
}
BENCHMARK(frozen_backward)->Apply(layers);

void libtorch_backward(benchmark::State& state) {
  const Layer given(state);
  const Tensor input = given.input.clone().requires_grad_(true);
  run_backward(state, at::linear(input, given.weight, given.bias), input, given.gradient);
}
BENCHMARK(libtorch_backward)->Apply(layers);

// Attention of the text tower: class suffixes of 6 rows behind a prefix of 17, 8 heads of 64.
constexpr std::int64_t kPrefix = 17, kSuffix = 6, kHeads = 8, kSize = 64, kWidth = kHeads * kSize;

void prefix_attention(benchmark::State& state) {
  const std::int64_t classes = state.range(0), rows = kPrefix + classes * kSuffix;
  const Tensor fused = draw({rows, 3 * kWidth});
  if (!attends_sequences(fused, kHeads)) {
    state.SkipWithError("this processor has no AVX2");
    return;
  }
  auto sequences = std::make_shared<std::vector<Sequence>>();
  sequences->push_back({0, kPrefix, 0, 0, 0, 0});
  for (std::int64_t c = 0; c < classes; ++c) {
    const std::int64_t row = kPrefix + c * kSuffix;
    sequences->push_back({row, kSuffix, 0, kPrefix, 0, row});
  }
  const at::NoGradGuard no_gradients;
  for (auto _ : state) benchmark::DoNotOptimize(attend_sequences(fused, kHeads, sequences, rows));
}
BENCHMARK(prefix_attention)->Arg(100)->Arg(1000)->Unit(benchmark::kMillisecond)->UseRealTime();

/// The same results through LibTorch: the prefix's keys and values repeated for every class.
void libtorch_attention(benchmark::State& state) {
  const std::int64_t classes = state.range(0);
  const Tensor fused = draw({kPrefix + classes * kSuffix, 3 * kWidth});
  const Tensor mask = at::full({kSuffix, kPrefix + kSuffix}, -std::numeric_limits<double>::infinity(), fused.options())
                          .triu(kPrefix + 1);
  const auto heads_of = [](const Tensor& rows, std::int64_t sequences) {
    return rows.view({sequences, -1, 3, kHeads, kSize})
        .permute({2, 0, 3, 1, 4})
        .unbind();  // [sequences, H, rows, size]
  };
  const at::NoGradGuard no_gradients;
  for (auto _ : state) {
    const auto prefix = heads_of(fused.narrow(0, 0, kPrefix), 1);
    const auto own = heads_of(fused.narrow(0, kPrefix, classes * kSuffix), classes);
    const auto joined = [&](std::size_t i) {
      return at::cat({prefix[i].expand({classes, kHeads, kPrefix, kSize}), own[i]}, 2);
    };
    benchmark::DoNotOptimize(at::cat({attend(prefix[0], prefix[1], prefix[2], {}, true).view({kPrefix, kWidth}),
                                      attend(own[0], joined(1), joined(2), mask).view({-1, kWidth})}));
  }
}
BENCHMARK(libtorch_attention)->Arg(100)->Arg(1000)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace attune

int main(int count, char** arguments) {
  attune::set_threads(0);
  attune::flush_denormals();
  attune::keep_freed_memory();
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
