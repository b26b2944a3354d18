// Times decoding, the evaluation view and normalisation on one thread. Reads the paths of pictures from the file named
// by the first argument, and answers every line on standard input with one round: JSON with ms of processor time a
// picture for each step.
#include <cstdio>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"

namespace {

/// Processor time of this thread, which other programs on the machine disturb least.
double now_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

struct File {
  std::string path;
  std::string content;
};

void round(const std::vector<File>& files, const attune::Preprocess& preprocess, std::vector<float>& pixels) {
  double decode = 0, view = 0, normalise = 0;
  for (const File& file : files) {
    double start = now_ms();
    const attune::Image image = attune::decode_image(std::as_bytes(std::span(file.content)), file.path);
    decode += now_ms() - start;
    start = now_ms();
    const attune::Image small = attune::centre_view(image, preprocess);
    view += now_ms() - start;
    start = now_ms();
    attune::normalise(small, preprocess, pixels.data());
    normalise += now_ms() - start;
  }
  const auto count = static_cast<double>(files.size());
  fmt::print("{{\"decode\": {}, \"view\": {}, \"normalise\": {}, \"first\": {}}}\n", decode / count, view / count,
             normalise / count, static_cast<double>(pixels[0]));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: benchmark_images LIST SIZE bilinear|bicubic\n");
    return 2;
  }
  attune::Preprocess preprocess;
  preprocess.size = std::stoi(argv[2]);
  preprocess.filter = std::string(argv[3]) == "bilinear" ? attune::Filter::kBilinear : attune::Filter::kBicubic;
  std::vector<File> files;
  std::istringstream list(attune::read_file(argv[1]));
  for (std::string path; std::getline(list, path);) files.push_back({path, attune::read_file(path)});
  std::vector<float> pixels(static_cast<std::size_t>(preprocess.size) * static_cast<std::size_t>(preprocess.size) * 3);
  for (std::string line; std::getline(std::cin, line);) round(files, preprocess, pixels);
  return 0;
}
