#include <benchmark/benchmark.h>

#include "attune/text/tokenizer.h"

namespace attune {
namespace {

void encode(benchmark::State& state, const std::string& text) {
  const Tokenizer tokenizer = Tokenizer::load(ATTUNE_SOURCE_DIR "/models/pocket");
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

BENCHMARK_CAPTURE(encode, prompt, "a photo of a yellow lady's slipper, a type of flower.");
BENCHMARK_CAPTURE(encode, paragraph,
                  "The bird is medium-sized with a short, conical bill; its crown is chestnut, its breast is grey and "
                  "unstreaked, and a dark line runs through the eye. Naïve observers mistake it for a field sparrow.");

void load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::load(ATTUNE_SOURCE_DIR "/models/pocket"));
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace attune

BENCHMARK_MAIN();
