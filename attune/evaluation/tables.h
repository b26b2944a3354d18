#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/results.h"

namespace attune {

/// One line of the table that every presentation shares: a domain (or "all") and a group (or "all").
struct AccuracyRow {
  std::string domain;
  std::string group;
  Accuracy accuracy;
  std::optional<Accuracy> zero_shot;
  std::optional<double> floor;
};
/// All samples first, then their groups, then the domains, each with its groups.
std::vector<AccuracyRow> accuracy_rows(const Results& results);

/// `class,count,acc1,low,high,zero_shot_acc1`, a line per class; RFC 4180 quoting; shares with six digits, empty where
/// a number does not exist.
std::string per_class_csv(const Results& results);
/// `domain,group,count,acc1,low,high,zero_shot_acc1`; the group "all" is the whole domain, the domain "all" everything.
std::string per_domain_csv(const Results& results);
/// Rows `method & dataset & domain & zero-shot & accuracy & interval \\`, in per cent, names escaped, for a booktabs
/// table.
std::string latex_rows(const Results& results);

/// Text with LaTeX's special characters as themselves.
std::string latex_escaped(const std::string& text);

}  // namespace attune
