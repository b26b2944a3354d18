#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <jpeglib.h>

#include <benchmark/benchmark.h>

#include "attune/images/decode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

/// A photograph-like picture: smooth colours with some grain.
Image photograph(int width, int height) {
  Image image{width, height, {}};
  image.rgb.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::uint32_t grain = 1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        grain = grain * 1664525U + 1013904223U;
        const double smooth = 120 + 60 * std::sin(0.011 * x * (channel + 1)) + 50 * std::cos(0.017 * y);
        image.rgb.push_back(static_cast<std::uint8_t>(smooth + (grain >> 28)));
      }
    }
  }
  return image;
}

/// The picture of the benchmark's size as a JPEG file of quality 90.
std::string jpeg(const benchmark::State& state) {
  Image image = photograph(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 90, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = image.rgb.data() + static_cast<std::size_t>(encoder.next_scanline) * encoder.image_width * 3;
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  const std::string file(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&encoder);
  std::free(bytes);
  return file;
}

std::span<const std::byte> bytes_of(const std::string& file) {
  return std::as_bytes(std::span(file.data(), file.size()));
}

void sizes(benchmark::internal::Benchmark* set) {
  set->Args({500, 375})->Args({1600, 1200})->Unit(benchmark::kMillisecond);
}

/// A JPEG in memory to normalised pixels of 224.
void preprocess_jpeg(benchmark::State& state) {
  const std::string file = jpeg(state);
  const Preprocess preprocess;
  std::vector<float> pixels(static_cast<std::size_t>(3 * preprocess.size * preprocess.size));
  for (auto _ : state) {
    normalise(centre_view(decode_image(bytes_of(file), "jpeg"), preprocess), preprocess, pixels.data());
    benchmark::DoNotOptimize(pixels.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(preprocess_jpeg)->Apply(sizes);

void decode_jpeg(benchmark::State& state) {
  const std::string file = jpeg(state);
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(bytes_of(file), "jpeg"));
}
BENCHMARK(decode_jpeg)->Apply(sizes);

void view(benchmark::State& state) {
  const Image image = photograph(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  const Preprocess preprocess;
  for (auto _ : state) benchmark::DoNotOptimize(centre_view(image, preprocess));
}
BENCHMARK(view)->Apply(sizes);

}  // namespace
}  // namespace attune

BENCHMARK_MAIN();
