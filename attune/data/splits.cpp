#include "attune/data/splits.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/random.h"
#include "attune/data/cpython_random.h"

namespace attune {
namespace {

constexpr int kMostValShots = 4;

using Group = std::pair<std::int64_t, std::int64_t>;  // domain, label

/// The samples of each (domain, class), sorted by path, so that draws do not depend on the order of the list.
std::map<Group, std::vector<Sample>> groups_of(const std::vector<Sample>& samples, bool by_domain) {
  std::map<Group, std::vector<Sample>> groups;
  for (const Sample& sample : samples) groups[{by_domain ? sample.domain : 0, sample.label}].push_back(sample);
  for (auto& [group, members] : groups) {
    std::stable_sort(members.begin(), members.end(),
                     [](const Sample& a, const Sample& b) { return a.path.native() < b.path.native(); });
  }
  return groups;
}

std::string name_of(const Dataset& dataset, const Group& group) {
  const std::string& name = dataset.classes[static_cast<std::size_t>(group.second)];
  return dataset.domains.size() > 1 ? dataset.domains[static_cast<std::size_t>(group.first)] + "/" + name : name;
}

std::vector<Sample> in_random_order(const std::vector<Sample>& members, std::uint64_t seed, const std::string& purpose,
                                    const Group& group) {
  std::vector<Sample> ordered;
  const std::string key = fmt::format("{}:{}", purpose, group.first);
  for (const std::int64_t at :
       random_order(static_cast<std::int64_t>(members.size()), seed, key, static_cast<std::uint64_t>(group.second))) {
    ordered.push_back(members[static_cast<std::size_t>(at)]);
  }
  return ordered;
}

void append(std::vector<Sample>& to, const std::vector<Sample>& from, std::size_t begin, std::size_t end) {
  to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(begin),
            from.begin() + static_cast<std::ptrdiff_t>(end));
}

/// Dassl's draw from one list: classes in order of appearance, `random.sample` where a class has enough.
std::vector<Sample> coop_draw(const Dataset& dataset, const std::vector<Sample>& samples, std::size_t shots,
                              CpythonRandom& random, std::string_view part, std::vector<std::string>& notes) {
  std::vector<std::int64_t> order;
  std::unordered_map<std::int64_t, std::vector<const Sample*>> classes;
  for (const Sample& sample : samples) {
    auto& members = classes[sample.label];
    if (members.empty()) order.push_back(sample.label);
    members.push_back(&sample);
  }
  std::vector<Sample> drawn;
  for (const std::int64_t label : order) {
    const auto& members = classes[label];
    if (members.size() >= shots) {
      for (const std::size_t at : random.sample(members.size(), shots)) drawn.push_back(*members[at]);
    } else {
      for (const Sample* member : members) drawn.push_back(*member);
      notes.push_back(fmt::format("{}: {} pictures of \"{}\" instead of {}", part, members.size(),
                                  dataset.classes[static_cast<std::size_t>(label)], shots));
    }
  }
  return drawn;
}

void draw_keyed(const Dataset& dataset, const FewShot& options, Dataset& drawn) {
  const auto shots = static_cast<std::size_t>(options.shots);
  const auto val_shots = static_cast<std::size_t>(std::min(options.shots, kMostValShots));
  const bool separate_val = !dataset.val.empty();
  for (const auto& [group, members] : groups_of(dataset.train, options.per_domain)) {
    const std::vector<Sample> ordered = in_random_order(members, options.seed, "few-shot train", group);
    const std::size_t taken = std::min(shots, ordered.size());
    append(drawn.train, ordered, 0, taken);
    if (!separate_val) append(drawn.val, ordered, taken, std::min(taken + val_shots, ordered.size()));
    if (taken < shots) {
      drawn.notes.push_back(
          fmt::format("train: {} pictures of \"{}\" instead of {}", taken, name_of(dataset, group), shots));
    }
  }
  if (!separate_val) return;
  for (const auto& [group, members] : groups_of(dataset.val, options.per_domain)) {
    const std::vector<Sample> ordered = in_random_order(members, options.seed, "few-shot val", group);
    append(drawn.val, ordered, 0, std::min(val_shots, ordered.size()));
  }
}

}  // namespace

Dataset divide(const Dataset& dataset, Division division, std::uint64_t seed) {
  const bool carve = division == Division::kCarveVal;
  if (carve ? dataset.train.empty() || !dataset.val.empty() : dataset.all.empty()) {
    throw UsageError(fmt::format("{}: expected {}, found train {}, val {}, test {}, undivided {}", dataset.name,
                                 carve ? "a training part and no val part" : "pictures without parts",
                                 dataset.train.size(), dataset.val.size(), dataset.test.size(), dataset.all.size()));
  }
  const double train_share = carve ? 0.8 : division == Division::kHalfTrain ? 0.5 : 0.7;
  Dataset divided = dataset;
  divided.train.clear();
  divided.all.clear();
  for (const auto& [group, members] : groups_of(carve ? dataset.train : dataset.all, true)) {
    const std::vector<Sample> ordered = in_random_order(members, seed, "divide", group);
    const std::size_t count = ordered.size();
    // std::nearbyint rounds half to even, as Python's round does.
    const auto share = [&](double part) {
      return static_cast<std::size_t>(std::max(1.0, std::nearbyint(part * static_cast<double>(count))));
    };
    const std::size_t train_end = std::min(share(train_share), count);
    const std::size_t val_end = division == Division::kHalfTrain ? std::min(train_end + share(0.2), count) : count;
    append(divided.train, ordered, 0, train_end);
    append(divided.val, ordered, train_end, val_end);
    append(divided.test, ordered, val_end, count);
    if (train_end == count || (division == Division::kHalfTrain && val_end == count)) {
      divided.notes.push_back(
          fmt::format("\"{}\" has {} pictures, too few for every part", name_of(dataset, group), count));
    }
  }
  if (division == Division::kSeventyThirty) divided.test = divided.val;
  return divided;
}

DrawRule draw_rule_named(std::string_view name) {
  if (name == "keyed") return DrawRule::kKeyed;
  if (name == "coop") return DrawRule::kCoop;
  throw UsageError(fmt::format("draws: expected keyed or coop, found \"{}\"", name));
}

std::string_view name_of(DrawRule rule) {
  return rule == DrawRule::kKeyed ? "keyed" : "coop";
}

Dataset draw_few_shot(const Dataset& dataset, const FewShot& options) {
  if (options.shots < 1) throw UsageError(fmt::format("shots: expected at least 1, found {}", options.shots));
  if (dataset.train.empty())
    throw UsageError(fmt::format("{}: expected a training part to draw shots from, found none", dataset.name));
  if (options.rule == DrawRule::kCoop && options.per_domain) {
    throw UsageError("draws: expected keyed for draws in each domain, found coop, which draws over all domains");
  }
  Dataset drawn = dataset;
  drawn.train.clear();
  drawn.val.clear();
  if (options.rule == DrawRule::kKeyed) {
    draw_keyed(dataset, options, drawn);
    return drawn;
  }
  CpythonRandom random(options.seed);
  const auto shots = static_cast<std::size_t>(options.shots);
  const auto val_shots = static_cast<std::size_t>(std::min(options.shots, kMostValShots));
  drawn.train = coop_draw(dataset, dataset.train, shots, random, "train", drawn.notes);
  drawn.val = coop_draw(dataset, dataset.val, val_shots, random, "val", drawn.notes);
  return drawn;
}

Dataset take_half(const Dataset& dataset, ClassHalf half) {
  const std::size_t count = dataset.classes.size();
  if (count < 2)
    throw UsageError(fmt::format("{}: expected at least 2 classes to halve, found {}", dataset.name, count));
  const std::size_t middle = (count + 1) / 2;
  const std::size_t begin = half == ClassHalf::kBase ? 0 : middle;
  const std::size_t end = half == ClassHalf::kBase ? middle : count;
  Dataset taken = dataset;
  taken.classes.assign(dataset.classes.begin() + static_cast<std::ptrdiff_t>(begin),
                       dataset.classes.begin() + static_cast<std::ptrdiff_t>(end));
  for (auto* part : {&taken.train, &taken.val, &taken.test, &taken.all}) {
    std::erase_if(*part, [&](const Sample& sample) {
      return sample.label < static_cast<std::int64_t>(begin) || sample.label >= static_cast<std::int64_t>(end);
    });
    for (Sample& sample : *part) sample.label -= static_cast<std::int64_t>(begin);
  }
  return taken;
}

}  // namespace attune
