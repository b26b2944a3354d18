#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace attune {

/// A share of `count` samples; NaN where there are none.
struct Accuracy {
  std::int64_t count = 0;
  double acc1 = 0;
};
struct NamedAccuracy {
  std::string name;
  Accuracy accuracy;
};
struct DomainAccuracy {
  std::string name;
  Accuracy accuracy;
  std::vector<NamedAccuracy> groups;  // such as "seen" and "held_out"; empty where the data tells none
};

/// The four numbers of a classification, as shares in [0, 1].
struct Metrics {
  double acc1 = 0;
  double acc5 = 0;  // top min(5, C)
  double mean_per_class_recall = 0;
  double ece = 0;
};

/// One of the equal-width bins of the top probability, (low, high]; the first one holds 0 as well.
struct ReliabilityBin {
  double low = 0;
  double high = 0;
  std::int64_t count = 0;
  double confidence = 0;  // mean top probability; NaN in an empty bin
  double accuracy = 0;    // NaN in an empty bin
};

/// All that is measured on one set of samples.
struct Measurement {
  std::int64_t count = 0;
  Metrics metrics;
  std::vector<NamedAccuracy> per_class;  // C, in the order of the classes
  std::vector<DomainAccuracy> per_domain;
  std::vector<NamedAccuracy> groups;                 // over all domains
  std::vector<std::vector<std::int64_t>> confusion;  // [C][C], row: label, column: answer
  std::vector<ReliabilityBin> reliability;
};

}  // namespace attune
