#include "attune/evaluation/sections.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/tables.h"

namespace attune {
namespace {

std::string coloured_points(double difference, int digits) {
  const char* direction = difference > 0 ? "up" : difference < 0 ? "down" : "";
  return fmt::format("<span class=\"{}\">{}</span>", direction, points(difference, digits));
}

std::string tile(std::string_view name, std::string_view value, std::string_view below, std::string_view style = "") {
  return fmt::format("<div class=\"{}\"><dt>{}</dt><dd class=\"big\">{}</dd><dd class=\"small\">{}</dd></div>\n", style,
                     name, value, below);
}

Accuracy overall(const Measurement& measured) {
  return {measured.count, measured.metrics.acc1};
}

/// "trained on" or "never shown" beside the name of a domain, where the run tells.
std::string domain_tag(const Results& results, const std::string& domain) {
  const std::vector<std::string>& sources = results.source_domains;
  if (sources.empty() || domain.empty()) return "";
  const bool known = std::find(sources.begin(), sources.end(), domain) != sources.end();
  return known ? "<span class=\"tag\">trained on</span>" : "<span class=\"tag new\">never shown</span>";
}

std::string row_heading(const Results& results, const AccuracyRow& row) {
  const std::string count = fmt::format("<span class=\"sub\">{} images</span>", whole(row.accuracy.count));
  if (row.group != "all") return shown_name(row.group) + count;
  if (row.domain == "all") return "All images" + count;
  return (row.domain.empty() ? "no domain" : shown_name(row.domain)) + domain_tag(results, row.domain) + count;
}

TableRow domain_row(const Results& results, const AccuracyRow& row, double top) {
  const int digits = sensible_digits(row.accuracy.count);
  const Interval interval = wilson_interval(row.accuracy);
  TableRow shown;
  shown.style_class = row.group != "all" ? "group" : "top";
  shown.cells.push_back({row_heading(results, row)});
  if (results.floors) shown.cells.push_back({row.floor ? per_cent_plain(*row.floor) : "–"});
  if (results.zero_shot) shown.cells.push_back({row.zero_shot ? per_cent_plain(row.zero_shot->acc1, digits) : "–"});
  shown.cells.push_back({fmt::format("<strong>{}</strong><span class=\"sub\">{}</span>",
                                     per_cent_plain(row.accuracy.acc1, digits), per_cent_range(interval, digits))});
  if (results.zero_shot) {
    std::string difference = "–";
    if (row.zero_shot && row.accuracy.count > 0) {
      const Interval range = difference_interval(row.accuracy, *row.zero_shot);
      difference =
          coloured_points(row.accuracy.acc1 - row.zero_shot->acc1, digits) +
          fmt::format("<span class=\"sub\">{} to {}</span>", points(range.low, digits), points(range.high, digits));
    }
    shown.cells.push_back({difference});
  }
  const std::optional<double> before = row.zero_shot ? std::optional(row.zero_shot->acc1) : std::nullopt;
  shown.cells.push_back({track({row.accuracy.acc1, interval, before, row.floor}, top)});
  return shown;
}

double largest_of(const std::vector<AccuracyRow>& rows) {
  double largest = 0;
  for (const AccuracyRow& row : rows) {
    if (row.accuracy.count == 0) continue;
    largest = std::max({largest, wilson_interval(row.accuracy).high, row.floor.value_or(0)});
    if (row.zero_shot && std::isfinite(row.zero_shot->acc1)) largest = std::max(largest, row.zero_shot->acc1);
  }
  return largest;
}

struct Confusion {
  std::size_t label;
  std::size_t answer;
  std::int64_t count;
  std::int64_t total;  // samples of the label
};

/// Wrong answers by how often they were given, most frequent first.
std::vector<Confusion> confusions_of(const std::vector<std::vector<std::int64_t>>& counts) {
  std::vector<Confusion> found;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    std::int64_t total = 0;
    for (const std::int64_t count : counts[label]) total += count;
    for (std::size_t answer = 0; answer < counts.size(); ++answer) {
      if (answer != label && counts[label][answer] > 0) found.push_back({label, answer, counts[label][answer], total});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Confusion& a, const Confusion& b) { return a.count > b.count; });
  return found;
}

std::vector<std::string> spaced(std::vector<std::string> names) {
  for (std::string& name : names) std::replace(name.begin(), name.end(), '_', ' ');
  return names;
}

std::string confusion_list(const std::vector<std::string>& classes,
                           const std::vector<std::vector<std::int64_t>>& counts) {
  constexpr std::size_t kMostListed = 12;
  std::vector<Confusion> found = confusions_of(counts);
  if (found.empty()) return html_note("There is no wrong answer.");
  const std::size_t all = found.size();
  found.resize(std::min(all, kMostListed));
  Table table{"", {{"Image of"}, {"named"}, {"images", true}, {"share of the class", true}}, {}, "confusions"};
  table.caption = fmt::format("The {} most frequent confusions of {} that occur", found.size(), all);
  for (const Confusion& one : found) {
    const double share = static_cast<double>(one.count) / static_cast<double>(one.total);
    table.rows.push_back({{{shown_name(classes[one.label])},
                           {shown_name(classes[one.answer])},
                           {fmt::format("{} of {}", whole(one.count), whole(one.total))},
                           {per_cent(share, sensible_digits(one.total))}}});
  }
  return html_table(table);
}

}  // namespace

std::string shown_name(const std::string& name) {
  return escape(spaced({name}).front());
}

std::string shown_method(const std::string& method) {
  if (method == "coop") return "CoOp";
  if (method == "zero-shot" || method == "zero_shot") return "Zero-shot";
  return method;
}

std::string shown_answerer(const Results& results) {
  return shown_method(results.method) == "Zero-shot" ? "zero-shot" : "learned";
}

std::string headline(const Results& results) {
  const Measurement& measured = results.measured;
  const Accuracy all = overall(measured);
  const Interval interval = wilson_interval(all);
  const int digits = sensible_digits(all.count);
  std::string sentence = fmt::format(
      "<p class=\"lead\">{} names <strong>{}</strong> of {} images correctly (95\u202F% interval {}\u202F%)",
      escape(shown_method(results.method)), per_cent(all.acc1, digits), whole(all.count),
      per_cent_range(interval, digits));
  std::string tiles =
      tile("Top-1, " + shown_answerer(results), per_cent(all.acc1, digits),
           fmt::format("{}\u202F%, {} images", per_cent_range(interval, digits), whole(all.count)), "main");
  if (results.zero_shot) {
    const Accuracy before = overall(*results.zero_shot);
    const double difference = all.acc1 - before.acc1;
    const Interval range = difference_interval(all, before);
    sentence += fmt::format(", {} points {} zero-shot", per_cent_plain(std::abs(difference), digits),
                            difference < 0 ? "below" : "above");
    tiles += tile("Top-1, zero-shot", per_cent(before.acc1, digits),
                  fmt::format("{}\u202F%, the same images", per_cent_range(wilson_interval(before), digits)));
    tiles += tile("Difference, points", coloured_points(difference, digits),
                  fmt::format("{} to {}", points(range.low, digits), points(range.high, digits)));
  }
  sentence += ".</p>\n";
  const auto beside = [&](double Metrics::*member) {
    return results.zero_shot ? "zero-shot " + per_cent(results.zero_shot->metrics.*member, digits) : std::string();
  };
  tiles += tile("Top-5", per_cent(measured.metrics.acc5, digits), beside(&Metrics::acc5));
  tiles += tile("Mean per class", per_cent(measured.metrics.mean_per_class_recall, digits),
                beside(&Metrics::mean_per_class_recall));
  tiles += tile("Calibration error", per_cent(measured.metrics.ece, digits), beside(&Metrics::ece));
  return sentence + "<dl class=\"tiles\">\n" + tiles + "</dl>\n";
}

std::string domain_section(const Results& results, const std::string& prefix) {
  const std::vector<AccuracyRow> rows = accuracy_rows(results);
  const double top = track_top(largest_of(rows));
  Table table{"Top-1 accuracy in per cent, with 95 % intervals (Wilson) below", {{"Images"}}, {}, "bars domains"};
  if (results.floors) table.columns.push_back({"Floor", true});
  if (results.zero_shot) table.columns.push_back({"Zero-shot", true});
  table.columns.push_back({results.zero_shot ? "Learned" : "Accuracy", true});
  if (results.zero_shot) table.columns.push_back({"Difference", true});
  table.columns.push_back({track_axis(top), false, false, "", "plotted"});
  for (const AccuracyRow& row : rows) table.rows.push_back(domain_row(results, row, top));
  std::string body = track_key(shown_answerer(results), "95 % interval", results.zero_shot ? "zero-shot" : "",
                               results.floors ? "floor" : "") +
                     html_table(table);
  if (results.floors) body += html_note("Floor: " + escape(results.floors->meaning) + ".");
  if (results.zero_shot) {
    body += html_note(
        "Both answered the same images; the interval of the difference takes them as independent, so it is wider than "
        "it need be.");
  }
  return html_section(prefix + "domains", results.measured.per_domain.empty() ? "Accuracy" : "Accuracy by domain",
                      body);
}

std::string class_section(const Results& results, const std::string& prefix) {
  const Measurement& measured = results.measured;
  if (measured.per_class.empty()) return "";
  const bool compared = results.zero_shot && results.zero_shot->per_class.size() == measured.per_class.size();
  std::vector<std::size_t> order(measured.per_class.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto key = [&](std::size_t i) {
    const Accuracy& accuracy = measured.per_class[i].accuracy;
    return accuracy.count == 0 ? -1 : accuracy.acc1;
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) > key(b); });

  Table table{"Share of each class's images that were named correctly, in per cent", {}, {}, "bars classes"};
  table.columns = {{"Class", false, false, "text"},
                   {track_axis(1), false, false, "", "plotted"},
                   {compared ? "Learned" : "Accuracy", true, false, "number"},
                   {"95 % interval", true, true}};
  if (compared) {
    table.columns.push_back({"Zero-shot", true, true, "number"});
    table.columns.push_back({"Change", true, false, "number"});
  }
  table.columns.push_back({"Images", true, false, "number"});
  for (const std::size_t i : order) {
    const NamedAccuracy& one = measured.per_class[i];
    const int digits = sensible_digits(one.accuracy.count);
    const Interval interval = wilson_interval(one.accuracy);
    const double before = compared ? results.zero_shot->per_class[i].accuracy.acc1 : NAN;
    TableRow row;
    row.cells = {{shown_name(one.name)},
                 {track({one.accuracy.acc1, interval, compared ? std::optional(before) : std::nullopt, {}}, 1)},
                 {per_cent_plain(one.accuracy.acc1, digits), key(i)},
                 {one.accuracy.count == 0 ? "–" : per_cent_range(interval, digits)}};
    if (compared) {
      const double change = one.accuracy.acc1 - before;
      row.cells.push_back({per_cent_plain(before, digits), std::isfinite(before) ? before : -1});
      row.cells.push_back({coloured_points(change, digits), std::isfinite(change) ? change : -2});
    }
    row.cells.push_back({whole(one.accuracy.count), static_cast<double>(one.accuracy.count)});
    table.rows.push_back(row);
  }
  return html_section(
      prefix + "classes", "Accuracy by class",
      track_key(shown_answerer(results), "95 % interval", compared ? "zero-shot" : "", "") + html_table(table));
}

std::string confusion_matrix(const std::vector<std::string>& classes,
                             const std::vector<std::vector<std::int64_t>>& counts) {
  return html_note(
             "A row is what the image shows, a column what it was called; darker is a larger share "
             "of the row. Blue on the diagonal is right, orange is wrong. Every cell names itself.") +
         heat_map({spaced(classes), counts}) + confusion_list(classes, counts);
}

std::string confusion_section(const Results& results, const std::string& prefix) {
  if (results.measured.confusion.empty()) return "";
  return html_section(prefix + "confusion", "What is taken for what",
                      confusion_matrix(results.classes, results.measured.confusion));
}

std::string calibration_section(const Results& results, const std::string& prefix) {
  const std::vector<ReliabilityBin>& bins = results.measured.reliability;
  if (bins.empty()) return "";
  const bool any = std::any_of(bins.begin(), bins.end(), [](const ReliabilityBin& bin) { return bin.count > 0; });
  if (!any) return "";
  Table table{"The bins in numbers, in per cent",
              {{"Claimed"}, {"Mean claimed", true}, {"Right", true}, {"Images", true}},
              {},
              ""};
  for (const ReliabilityBin& bin : bins) {
    if (bin.count == 0) continue;
    table.rows.push_back({{{per_cent_range({bin.low, bin.high}, 0)},
                           {per_cent_plain(bin.confidence)},
                           {per_cent_plain(bin.accuracy, sensible_digits(bin.count))},
                           {whole(bin.count)}}});
  }
  return html_section(
      prefix + "calibration", "Can the probabilities be believed?",
      html_note(fmt::format("Blue: how many of the images with such a claim were named correctly. Framed: how far that "
                            "is from the claim. Expected calibration error {}.",
                            per_cent(results.measured.metrics.ece))) +
          "<div class=\"pair\">" + reliability_chart(bins) + "<div>" + html_table(table) + "</div></div>\n");
}

std::string forgetting_section(const Results& results, const std::string& prefix) {
  if (!results.forgetting) return "";
  const Forgetting& forgetting = *results.forgetting;
  std::string names;
  for (const std::string& name : forgetting.classes) names += (names.empty() ? "" : ", ") + shown_name(name);
  return html_section(
      prefix + "forgetting", "Was anything forgotten?",
      fmt::format("<p>On {} classes outside the training set the model names {} of the images without and {} with what "
                  "it learned: {} points.</p>\n",
                  forgetting.classes.size(), per_cent(forgetting.before), per_cent(forgetting.after),
                  coloured_points(forgetting.after - forgetting.before, 1)) +
          html_details("The classes", "<p>" + names + "</p>\n"));
}

}  // namespace attune
