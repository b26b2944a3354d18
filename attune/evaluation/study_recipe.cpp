#include "attune/evaluation/study_recipe.h"

#include <algorithm>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/methods/method_files.h"
#include "attune/methods/registry.h"

namespace attune {
namespace {

constexpr std::uint64_t kLargestRecipe = std::uint64_t{1} << 20;

bool is_method(const std::string& name) {
  const auto& all = methods();
  return std::any_of(all.begin(), all.end(), [&](const Method& method) { return method.name == name; });
}

/// The elements of a list, or the one value that stands there.
std::vector<Json> elements(const Json& value) {
  if (!value.is_array()) return {value};
  return {value.begin(), value.end()};
}

std::vector<std::string> texts(const Json& value, const std::string& where) {
  std::vector<std::string> list;
  for (const Json& one : elements(value)) {
    if (!one.is_string()) throw UsageError(fmt::format("{}: expected a text, found {}", where, one.dump()));
    list.push_back(one.get<std::string>());
  }
  return list;
}

int number(const Json& value, int least, const std::string& where) {
  const bool whole = value.is_number_integer() && value >= least && value <= std::numeric_limits<int>::max();
  if (!whole)
    throw UsageError(fmt::format("{}: expected a whole number from {}, found {}", where, least, value.dump()));
  return value.get<int>();
}

/// Takes a text out of a map.
std::string take_text(Json& map, const char* key, const std::string& where) {
  const auto found = map.find(key);
  if (found == map.end()) return "";
  const std::string text = texts(*found, fmt::format("{}.{}", where, key)).at(0);
  map.erase(key);
  return text;
}

StudyRequest::Wanted wanted_from(const std::string& label, Json settings, const std::filesystem::path& file) {
  const std::string where = fmt::format("{}: methods.{}", file.string(), label);
  if (settings.is_null()) settings = Json::object();
  if (!settings.is_object()) throw UsageError(where + ": expected a map of settings");
  StudyRequest::Wanted wanted{label, {}, "", where, file.parent_path()};
  const std::string recipe = take_text(settings, "recipe", where);
  if (!recipe.empty()) wanted.sources.recipe = file.parent_path() / recipe;
  wanted.sources.method = take_text(settings, "method", where);
  if (wanted.sources.method.empty() && (recipe.empty() || is_method(label))) wanted.sources.method = label;
  if (!settings.empty()) wanted.settings = settings.dump();
  return wanted;
}

void read_key(StudyRequest& request, const std::string& key, const Json& value, const std::filesystem::path& file) {
  static const std::vector<std::string> kKeys = {"protocol", "data", "methods", "shots", "seeds", "draw", "targets"};
  const std::string where = fmt::format("{}: {}", file.string(), key);
  if (key == "protocol") {
    request.protocol = protocol_named(texts(value, where).at(0));
  } else if (key == "data") {
    request.data = texts(value, where);
  } else if (key == "targets") {
    request.targets = texts(value, where);
  } else if (key == "draw") {
    request.draw = draw_rule_named(texts(value, where).at(0));
  } else if (key == "seeds") {
    request.seeds = number(value, 1, where);
  } else if (key == "shots") {
    for (const Json& one : elements(value)) request.shots.push_back(number(one, 0, where));
  } else if (key == "methods") {
    if (!value.is_object()) throw UsageError(where + ": expected a map from labels to settings");
    for (const auto& [label, settings] : value.items()) request.methods.push_back(wanted_from(label, settings, file));
  } else {
    throw UsageError(fmt::format("{}: expected one of {}{}", where, fmt::join(kKeys, ", "),
                                 did_you_mean(nearest(key, kKeys), "\"")));
  }
}

Config config_of(const StudyRequest::Wanted& wanted) {
  ConfigSources sources = wanted.sources;
  sources.assignments.clear();
  Config config = run_config(sources);
  if (!wanted.settings.empty()) {
    config.merge_yaml(wanted.settings, wanted.settings_of);
    locate_files(config, wanted.folder);
  }
  for (const std::string& one : wanted.sources.assignments) config.set(one, wanted.sources.assigned_by);
  locate_files(config, ".");
  return config;
}

}  // namespace

StudyRequest read_study_recipe(const std::filesystem::path& file) {
  const Json recipe = parse_yaml(read_file(file, kLargestRecipe), file.string());
  if (!recipe.is_object()) throw UsageError(fmt::format("{}: expected a map of keys", file.string()));
  StudyRequest request;
  for (const auto& [key, value] : recipe.items()) {
    if (value.is_array() && value.empty())
      throw UsageError(fmt::format("{}: {}: expected a value", file.string(), key));
    read_key(request, key, value, file);
  }
  return request;
}

std::vector<StudyRequest::Wanted> parse_study_methods(const std::string& text) {
  std::vector<StudyRequest::Wanted> wanted;
  std::string_view rest = text;
  for (bool more = !rest.empty(); more;) {
    const std::size_t comma = rest.find(',');
    const std::string piece(rest.substr(0, comma));
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
    const std::string head = piece.substr(0, piece.find(':'));
    const std::size_t equals = head.find('=');
    const std::string label = head.substr(0, equals);
    if (is_method(equals == std::string::npos ? head : head.substr(equals + 1))) {
      const std::string method = equals == std::string::npos ? piece : piece.substr(equals + 1);
      wanted.push_back({label, {{}, method, {}}, "", ""});
    } else if (!wanted.empty() && wanted.back().sources.method.find(':') != std::string::npos) {
      wanted.back().sources.method += "," + piece;
    } else {
      find_method(label);
      throw UsageError(fmt::format("--methods: expected NAME or LABEL=NAME, found \"{}\"", piece));
    }
  }
  return wanted;
}

std::vector<StudyMethod> study_methods(const StudyRequest& request) {
  std::vector<StudyMethod> methods;
  bool zero_shot = false;
  for (const StudyRequest::Wanted& wanted : request.methods) {
    methods.push_back({wanted.label, config_of(wanted)});
    zero_shot = zero_shot || methods.back().name() == "zero_shot";
  }
  if (!zero_shot && !methods.empty()) methods.insert(methods.begin(), {"zero_shot", run_config({{}, "zero_shot", {}})});
  return methods;
}

}  // namespace attune
