#include "attune/cli/common.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/checks.h"
#include "attune/tensors/device.h"

#ifndef ATTUNE_VERSION
#error "ATTUNE_VERSION is set by the build"
#endif

namespace attune {
namespace {

/// Shows how far long work has come: on a terminal one line that is drawn again, elsewhere a line every half minute.
class ProgressLine final : public Progress {
 public:
  ProgressLine(std::string title, bool terminal)
      : title_(std::move(title)), terminal_(terminal), shown_(Clock::now()) {}
  ~ProgressLine() override { ProgressLine::finish(); }

  void update(std::int64_t done, std::int64_t total, std::string_view note) override {
    const auto now = Clock::now();
    if (first_ < 0) {
      first_ = done;
      begin_ = now;
    }
    if (now - shown_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(30'000))) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
    const std::string line = text(done, total, rate, note);
    if (terminal_) {
      std::fprintf(stderr, "\r\033[K%s", line.c_str());
      drawn_ = true;
    } else {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
    std::fflush(stderr);
  }

  void finish() override {
    if (drawn_) std::fputs("\r\033[K", stderr);
    drawn_ = false;
    first_ = -1;  // what comes next has a pace of its own
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::string text(std::int64_t done, std::int64_t total, double rate, std::string_view note) const {
    std::string line = title_ + "  ";
    if (total > 0 && terminal_) {
      const auto filled = static_cast<std::size_t>(24 * done / total);
      for (std::size_t i = 0; i < 24; ++i) line += i < filled ? "█" : "░";
      line += " ";
    }
    line += total > 0 ? fmt::format("{}/{}", done, total) : fmt::format("{}", done);
    if (rate > 0) line += fmt::format("  {:.3g}/s", rate);
    if (rate > 0 && done < total) line += fmt::format(", {} left", duration(static_cast<double>(total - done) / rate));
    if (!note.empty()) line += fmt::format("  {}", note);
    return line;
  }

  std::string title_;
  bool terminal_, drawn_ = false;
  Clock::time_point shown_, begin_;
  std::int64_t first_ = -1;
};

}  // namespace

std::string duration(double seconds) {
  const auto whole = std::llround(seconds);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

void add_common(CLI::App& verb, Common& common) {
  verb.add_option("--seed", common.seed, "seed of everything random")
      ->capture_default_str()
      ->check(at_least<std::uint64_t>(0))
      ->group("Everywhere");
  verb.add_option("--device", common.device, "cpu, cuda, cuda:N or auto")->capture_default_str()->group("Everywhere");
  verb.add_option("--precision", common.precision,
                  "fp32, the reference, or where the device has it bf16; embed and bench also int8")
      ->capture_default_str()
      ->group("Everywhere");
  verb.add_option("--threads", common.threads, "threads of the arithmetic; 0: all cores")
      ->capture_default_str()
      ->check(at_least(0))
      ->group("Everywhere");
  verb.add_flag("--quiet", common.quiet, "no progress and no messages, only results and errors")->group("Everywhere");
  verb.add_flag("--json", common.json, "JSON lines on standard output")->group("Everywhere");
}

void prepare(const Common& common, Features features) {
  const at::Device device = choose_device(common.device);
  if (choose_precision(common.precision, device) == at::kChar && features != Features::kAlone) {
    throw UsageError("precision: int8 is for features alone (attune embed, attune bench); use fp32 or bf16");
  }
  set_threads(common.threads);
  flush_denormals();
  keep_freed_memory();
  if (device.is_cuda()) say(common, fmt::format("device: {}", device.str()));
}

std::unique_ptr<Progress> make_progress(const Common& common, const std::string& title) {
  if (common.quiet) return nullptr;
  return std::make_unique<ProgressLine>(title, ::isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr);
}

void say(const Common& common, const std::string& text) {
  if (!common.quiet) fmt::print(common.json ? stderr : stdout, "{}\n", text);
}

void say_not_measured(const Common& common, bool no_test, const std::filesystem::path& run) {
  say(common, fmt::format("{}adapter: {}", no_test ? "" : "there are no test pictures: nothing was measured\n",
                          (run / "adapter").string()));
}

void print_json(const Json& value) {
  fmt::print("{}\n", value.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

std::shared_ptr<const ClipModel> open_model(const Common& common, const std::string& name, bool text, bool image) {
  const at::Device device = choose_device(common.device);
  return std::make_shared<const ClipModel>(
      load_model(name, {text, image, device, choose_precision(common.precision, device), cache_folder() / "models"}));
}

namespace {
std::string& remembered_command() {
  static std::string command;
  return command;
}
}  // namespace

std::string command_line() {
  return remembered_command();
}

void set_command_line(int count, char** arguments) {
  std::string command = "attune";
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$&|;<>()*?[]{}~#") == std::string::npos;
    command += plain ? " " + word : fmt::format(" '{}'", word);
  }
  remembered_command() = command;
}

std::string version() {
  return ATTUNE_VERSION;
}

}  // namespace attune
