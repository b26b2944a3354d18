#include "attune/evaluation/tables.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/evaluation/metrics.h"
#include "attune/formats/csv.h"

namespace attune {
namespace {

/// The entry of that name, or none.
template <class Named>
std::optional<Accuracy> find_accuracy(const std::vector<Named>& list, const std::string& name) {
  for (const Named& one : list) {
    if (one.name == name) return one.accuracy;
  }
  return std::nullopt;
}

std::optional<Accuracy> find_accuracy(const Measurement& measured, const std::string& domain,
                                      const std::string& group) {
  if (domain == "all") {
    if (group == "all") return Accuracy{measured.count, measured.metrics.acc1};
    return find_accuracy(measured.groups, group);
  }
  if (group == "all") return find_accuracy(measured.per_domain, domain);
  for (const DomainAccuracy& one : measured.per_domain) {
    if (one.name == domain) return find_accuracy(one.groups, group);
  }
  return std::nullopt;
}

std::optional<double> find_floor(const std::optional<Floors>& floors, const std::string& domain,
                                 const std::string& group) {
  if (!floors) return std::nullopt;
  const auto groups = floors->acc1.find(domain);
  if (groups == floors->acc1.end()) return std::nullopt;
  const auto value = groups->second.find(group);
  return value == groups->second.end() ? std::nullopt : std::optional(value->second);
}

std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6f}", value) : "";
}

/// count,acc1,low,high,zero_shot_acc1 and the line's end.
std::string csv_accuracy(const Accuracy& accuracy, const std::optional<Accuracy>& zero_shot) {
  const Interval interval = wilson_interval(accuracy);
  return fmt::format("{},{},{},{},{}\n", accuracy.count, csv_number(accuracy.acc1), csv_number(interval.low),
                     csv_number(interval.high), zero_shot ? csv_number(zero_shot->acc1) : "");
}

std::string latex_per_cent(double value) {
  return std::isfinite(value) ? fmt::format("{:.1f}", 100 * value) : "--";
}

}  // namespace

std::string latex_escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '\\':
        result += "\\textbackslash{}";
        break;
      case '~':
        result += "\\textasciitilde{}";
        break;
      case '^':
        result += "\\textasciicircum{}";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        result += '\\';
        [[fallthrough]];
      default:
        result += c;
    }
  }
  return result;
}

std::vector<AccuracyRow> accuracy_rows(const Results& results) {
  std::vector<AccuracyRow> rows;
  const auto add = [&](const std::string& domain, const std::string& group, const Accuracy& accuracy) {
    rows.push_back({domain, group, accuracy,
                    results.zero_shot ? find_accuracy(*results.zero_shot, domain, group) : std::nullopt,
                    find_floor(results.floors, domain, group)});
  };
  add("all", "all", {results.measured.count, results.measured.metrics.acc1});
  for (const NamedAccuracy& group : results.measured.groups) add("all", group.name, group.accuracy);
  for (const DomainAccuracy& domain : results.measured.per_domain) {
    add(domain.name, "all", domain.accuracy);
    for (const NamedAccuracy& group : domain.groups) add(domain.name, group.name, group.accuracy);
  }
  return rows;
}

std::string per_class_csv(const Results& results) {
  std::string text = "class,count,acc1,low,high,zero_shot_acc1\n";
  for (std::size_t i = 0; i < results.measured.per_class.size(); ++i) {
    const NamedAccuracy& one = results.measured.per_class[i];
    const bool compared = results.zero_shot && i < results.zero_shot->per_class.size();
    text +=
        csv_field(one.name) + ',' +
        csv_accuracy(one.accuracy, compared ? std::optional(results.zero_shot->per_class[i].accuracy) : std::nullopt);
  }
  return text;
}

std::string per_domain_csv(const Results& results) {
  std::string text = "domain,group,count,acc1,low,high,zero_shot_acc1\n";
  for (const AccuracyRow& row : accuracy_rows(results)) {
    text += csv_field(row.domain) + ',' + csv_field(row.group) + ',' + csv_accuracy(row.accuracy, row.zero_shot);
  }
  return text;
}

std::string latex_rows(const Results& results) {
  std::string text;
  for (const AccuracyRow& row : accuracy_rows(results)) {
    const Interval interval = wilson_interval(row.accuracy);
    const std::string name = row.group == "all" ? row.domain : row.domain + ", " + row.group;
    text += fmt::format("{} & {} & {} & {} & {} & {}--{} \\\\\n", latex_escaped(results.method),
                        latex_escaped(results.dataset), latex_escaped(name),
                        row.zero_shot ? latex_per_cent(row.zero_shot->acc1) : "--", latex_per_cent(row.accuracy.acc1),
                        latex_per_cent(interval.low), latex_per_cent(interval.high));
  }
  return text;
}

}  // namespace attune
