#include "attune/evaluation/results.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json_count.h"
#include "attune/evaluation/json_values.h"

namespace attune {
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{256} << 20;

Json accuracy_json(const Accuracy& accuracy) {
  return {{"count", accuracy.count}, {"acc1", number_or_null(accuracy.acc1)}};
}

Json groups_json(const std::vector<NamedAccuracy>& groups) {
  Json result = Json::object();
  for (const NamedAccuracy& group : groups) result[group.name] = accuracy_json(group.accuracy);
  return result;
}

/// Adds the members of a measurement to `target`.
void add_measurement(Json& target, const Measurement& measured) {
  const Metrics& metrics = measured.metrics;
  target["count"] = measured.count;
  target["metrics"] = {{"acc1", number_or_null(metrics.acc1)},
                       {"acc5", number_or_null(metrics.acc5)},
                       {"mean_per_class_recall", number_or_null(metrics.mean_per_class_recall)},
                       {"ece", number_or_null(metrics.ece)}};
  target["per_class"] = Json::array();
  for (const NamedAccuracy& one : measured.per_class) {
    target["per_class"].push_back(
        {{"name", one.name}, {"count", one.accuracy.count}, {"acc1", number_or_null(one.accuracy.acc1)}});
  }
  target["per_domain"] = Json::array();
  for (const DomainAccuracy& one : measured.per_domain) {
    target["per_domain"].push_back({{"name", one.name},
                                    {"count", one.accuracy.count},
                                    {"acc1", number_or_null(one.accuracy.acc1)},
                                    {"groups", groups_json(one.groups)}});
  }
  target["groups"] = groups_json(measured.groups);
  target["confusion"] = measured.confusion;
  target["reliability"] = Json::array();
  for (const ReliabilityBin& bin : measured.reliability) {
    target["reliability"].push_back({{"low", bin.low},
                                     {"high", bin.high},
                                     {"count", bin.count},
                                     {"confidence", number_or_null(bin.confidence)},
                                     {"accuracy", number_or_null(bin.accuracy)}});
  }
}

/// A number in [low, high]; NaN for null where `may_lack`.
double number_at(const Json& object, std::string_view key, const std::string& where, double low, double high,
                 bool may_lack = false) {
  if (may_lack && object.is_object()) {
    const auto found = object.find(key);
    if (found != object.end() && found->is_null()) return std::numeric_limits<double>::quiet_NaN();
  }
  const double value = json_at<double>(object, key, where);
  if (!(value >= low && value <= high)) {
    throw Error(fmt::format("{}: expected \"{}\" from {} to {}, found {}", where, key, low, high, value));
  }
  return value;
}

double share_at(const Json& object, std::string_view key, const std::string& where, bool may_lack = false) {
  return number_at(object, key, where, 0, 1, may_lack);
}

/// A list member, absent or null read as empty.
Json list_at(const Json& object, std::string_view key, const std::string& where) {
  Json list = json_or<Json>(object, key, Json::array(), where);
  if (!list.is_array()) throw Error(fmt::format("{}: expected \"{}\" to be a list", where, key));
  return list;
}

Json object_at(const Json& object, std::string_view key, const std::string& where) {
  Json member = json_or<Json>(object, key, Json::object(), where);
  if (!member.is_object()) throw Error(fmt::format("{}: expected \"{}\" to be an object", where, key));
  return member;
}

Accuracy accuracy_from(const Json& value, const std::string& where) {
  const std::int64_t count = count_at(value, "count", where);
  return {count, share_at(value, "acc1", where, count == 0)};
}

std::vector<NamedAccuracy> groups_from(const Json& object, const std::string& where) {
  std::vector<NamedAccuracy> groups;
  const Json members = object_at(object, "groups", where);
  for (const auto& [name, value] : members.items()) {
    groups.push_back({name, accuracy_from(value, fmt::format("{}: groups.{}", where, name))});
  }
  return groups;
}

std::vector<std::vector<std::int64_t>> confusion_from(const Json& object, std::size_t classes,
                                                      const std::string& where) {
  std::vector<std::vector<std::int64_t>> rows;
  const Json list = list_at(object, "confusion", where);
  if (!list.empty() && list.size() != classes) {
    throw Error(
        fmt::format("{}: expected \"confusion\" with {} rows, one a class, found {}", where, classes, list.size()));
  }
  for (const Json& row : list) {
    const std::string name = fmt::format("{}: confusion[{}]", where, rows.size());
    if (!row.is_array() || row.size() != classes) {
      throw Error(fmt::format("{}: expected a list of {} counts", name, classes));
    }
    std::vector<std::int64_t>& counts = rows.emplace_back();
    for (const Json& cell : row) {
      if (!cell.is_number_integer() || cell.get<std::int64_t>() < 0) {
        throw Error(fmt::format("{}: expected counts of at least 0, found {}", name, cell.dump().substr(0, 40)));
      }
      counts.push_back(cell.get<std::int64_t>());
    }
  }
  return rows;
}

std::vector<ReliabilityBin> reliability_from(const Json& object, const std::string& where) {
  std::vector<ReliabilityBin> bins;
  for (const Json& bin : list_at(object, "reliability", where)) {
    const std::string name = fmt::format("{}: reliability[{}]", where, bins.size());
    const std::int64_t count = count_at(bin, "count", name);
    bins.push_back({share_at(bin, "low", name), share_at(bin, "high", name), count,
                    share_at(bin, "confidence", name, count == 0), share_at(bin, "accuracy", name, count == 0)});
  }
  return bins;
}

Measurement measurement_from(const Json& value, std::size_t classes, const std::string& where) {
  Measurement measured;
  measured.count = count_at(value, "count", where);
  const Json metrics = json_at<Json>(value, "metrics", where);
  const std::string inside = where + ": metrics";
  const bool empty = measured.count == 0;
  measured.metrics = {share_at(metrics, "acc1", inside, empty), share_at(metrics, "acc5", inside, empty),
                      share_at(metrics, "mean_per_class_recall", inside, empty),
                      share_at(metrics, "ece", inside, empty)};
  for (const Json& one : list_at(value, "per_class", where)) {
    const std::string name = fmt::format("{}: per_class[{}]", where, measured.per_class.size());
    measured.per_class.push_back({json_at<std::string>(one, "name", name), accuracy_from(one, name)});
  }
  if (!measured.per_class.empty() && measured.per_class.size() != classes) {
    throw Error(fmt::format("{}: expected \"per_class\" with {} entries, one a class, found {}", where, classes,
                            measured.per_class.size()));
  }
  for (const Json& one : list_at(value, "per_domain", where)) {
    const std::string name = fmt::format("{}: per_domain[{}]", where, measured.per_domain.size());
    measured.per_domain.push_back(
        {json_at<std::string>(one, "name", name), accuracy_from(one, name), groups_from(one, name)});
  }
  measured.groups = groups_from(value, where);
  measured.confusion = confusion_from(value, classes, where);
  measured.reliability = reliability_from(value, where);
  return measured;
}

Floors floors_from(const Json& value, const std::string& where) {
  Floors floors;
  floors.meaning = json_at<std::string>(value, "meaning", where);
  const Json domains = object_at(value, "acc1", where);
  for (const auto& [domain, groups] : domains.items()) {
    const std::string name = fmt::format("{}: acc1.{}", where, domain);
    if (!groups.is_object()) throw Error(fmt::format("{}: expected an object of groups", name));
    for (const auto& [group, unused] : groups.items()) floors.acc1[domain][group] = share_at(groups, group, name);
  }
  return floors;
}

Example example_from(const Json& value, const std::string& where) {
  return {json_at<std::string>(value, "path", where),       json_at<std::string>(value, "label", where),
          json_at<std::string>(value, "predicted", where),  share_at(value, "score", where),
          json_or<std::string>(value, "domain", "", where), json_at<bool>(value, "correct", where)};
}

void read_optional_parts(const Json& value, const std::string& where, Results& results) {
  if (const Json part = json_or<Json>(value, "zero_shot", nullptr, where); !part.is_null()) {
    results.zero_shot = measurement_from(part, results.classes.size(), where + ": zero_shot");
  }
  if (const Json part = json_or<Json>(value, "floors", nullptr, where); !part.is_null()) {
    results.floors = floors_from(part, where + ": floors");
  }
  if (const Json part = json_or<Json>(value, "forgetting", nullptr, where); !part.is_null()) {
    const std::string inside = where + ": forgetting";
    results.forgetting = {share_at(part, "before", inside), share_at(part, "after", inside),
                          json_at<std::vector<std::string>>(part, "classes", inside)};
  }
  for (const Json& example : list_at(value, "examples", where)) {
    results.examples.push_back(example_from(example, fmt::format("{}: examples[{}]", where, results.examples.size())));
  }
}

}  // namespace

Json to_json(const Results& results) {
  Json value = {{"dataset", results.dataset}, {"model", results.model},   {"pretrained", results.pretrained},
                {"task", results.task},       {"method", results.method}, {"seed", results.seed}};
  value["split"] = {{"part", results.split.part}, {"rule", results.split.rule}, {"hash", results.split.hash}};
  if (!results.fingerprint.empty()) value["fingerprint"] = results.fingerprint;
  value["version"] = results.version;
  value["command"] = results.command;
  value["config"] = results.config;
  value["classes"] = results.classes;
  value["domains"] = results.domains;
  value["source_domains"] = results.source_domains;
  add_measurement(value, results.measured);
  if (results.zero_shot) add_measurement(value["zero_shot"], *results.zero_shot);
  if (results.floors) value["floors"] = {{"meaning", results.floors->meaning}, {"acc1", Json(results.floors->acc1)}};
  if (results.forgetting) {
    value["forgetting"] = {{"before", results.forgetting->before},
                           {"after", results.forgetting->after},
                           {"classes", results.forgetting->classes}};
  }
  value["examples"] = Json::array();
  for (const Example& one : results.examples) {
    value["examples"].push_back({{"path", one.path},
                                 {"label", one.label},
                                 {"predicted", one.predicted},
                                 {"score", one.score},
                                 {"domain", one.domain},
                                 {"correct", one.correct}});
  }
  value["seconds"] = results.seconds;
  value["peak_memory_mb"] = results.peak_memory_mb;
  return value;
}

Results results_from_json(const Json& value, const std::string& where) {
  constexpr double kNoLimit = std::numeric_limits<double>::max();
  Results results;
  results.dataset = json_at<std::string>(value, "dataset", where);
  results.model = json_at<std::string>(value, "model", where);
  results.pretrained = json_or<std::string>(value, "pretrained", "", where);
  results.task = json_at<std::string>(value, "task", where);
  if (results.task != Results().task) {
    throw Error(fmt::format("{}: expected results of {}, found {}, whose report attune train wrote", where,
                            Results().task, results.task));
  }
  results.method = json_at<std::string>(value, "method", where);
  results.seed = json_at<std::int64_t>(value, "seed", where);
  const Json split = object_at(value, "split", where);
  const std::string in_split = where + ": split";
  results.split = {json_or<std::string>(split, "part", "", in_split), json_or<std::string>(split, "rule", "", in_split),
                   json_or<std::string>(split, "hash", "", in_split)};
  results.fingerprint = json_or<std::string>(value, "fingerprint", "", where);
  results.version = json_or<std::string>(value, "version", "", where);
  results.command = json_or<std::string>(value, "command", "", where);
  results.config = object_at(value, "config", where);
  results.classes = json_at<std::vector<std::string>>(value, "classes", where);
  results.domains = json_or<std::vector<std::string>>(value, "domains", {}, where);
  results.source_domains = json_or<std::vector<std::string>>(value, "source_domains", {}, where);
  results.measured = measurement_from(value, results.classes.size(), where);
  read_optional_parts(value, where, results);
  results.seconds = number_at(value, "seconds", where, 0, kNoLimit);
  results.peak_memory_mb = number_at(value, "peak_memory_mb", where, 0, kNoLimit);
  return results;
}

void write_results(const std::filesystem::path& path, const std::vector<Results>& results) {
  if (results.size() == 1) return write_json(path, to_json(results[0]));
  Json list = Json::array();
  for (const Results& one : results) list.push_back(to_json(one));
  write_json(path, list);
}

std::vector<Results> parse_results(std::string_view text, const std::string& where) {
  const Json value = parse_json(text, where);
  std::vector<Results> results;
  if (!value.is_array()) return {results_from_json(value, where)};
  for (const Json& one : value) results.push_back(results_from_json(one, fmt::format("{}[{}]", where, results.size())));
  if (results.empty()) throw Error(fmt::format("{}: expected at least one result, found an empty list", where));
  return results;
}

std::vector<Results> read_results(const std::filesystem::path& path) {
  return parse_results(read_file(path, kLargestFile), path.string());
}

}  // namespace attune
