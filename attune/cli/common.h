#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "attune/base/json.h"
#include "attune/base/log.h"
#include "attune/clip/model.h"

namespace attune {

/// Options that every verb takes.
struct Common {
  std::uint64_t seed = 1;
  std::string device = "cpu";
  std::string precision = "fp32";
  int threads = 0;  // 0: all cores
  bool quiet = false;
  bool json = false;
};
void add_common(CLI::App& verb, Common& common);

/// Whether a verb computes features alone, for which products of bytes are enough.
enum class Features { kTrained, kAlone };

/// Applies --device, --precision and --threads; says in the first line of the log what is used. Throws UsageError for
/// a device that is not there, and for int8 in a verb that does not compute features alone. Call before any other work.
void prepare(const Common& common, Features features = Features::kTrained);

/// A bar on a terminal, a line every half minute elsewhere, null under --quiet.
std::unique_ptr<Progress> make_progress(const Common& common, const std::string& title);

/// Text for people: standard output, or standard error under --json, where standard output holds JSON only; nothing
/// under --quiet.
void say(const Common& common, const std::string& text);
/// The end of a run that measures nothing, by --no-test or since there is no test part: says so, and where the adapter
/// is.
void say_not_measured(const Common& common, bool no_test, const std::filesystem::path& run);
/// One JSON object on one line of standard output.
void print_json(const Json& value);

/// A model loaded for a verb, on the device that was asked for.
std::shared_ptr<const ClipModel> open_model(const Common& common, const std::string& name, bool text = true,
                                            bool image = true);

/// "2 h 05 min", "3 min 10 s", "42 s".
std::string duration(double seconds);

/// The words that the program was started with, quoted where a shell needs it.
std::string command_line();
void set_command_line(int count, char** arguments);

/// The version of the program, such as "0.1.0".
std::string version();

}  // namespace attune
