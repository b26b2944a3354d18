#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/data/dataset.h"
#include "attune/images/image.h"

namespace attune {

/// Pictures of one class or domain in each part.
struct PartCounts {
  std::string name;
  std::int64_t train = 0, val = 0, test = 0, all = 0;
  std::int64_t total() const { return train + val + test + all; }
};

/// Files with the same bytes.
struct DuplicateGroup {
  std::vector<std::string> paths;  // relative to the dataset's root
  bool across_parts = false;       // training pictures that are tested on, say
  bool across_classes = false;
};

struct DatasetReport {
  std::vector<PartCounts> classes, domains;
  PartCounts whole;
  std::vector<std::string> broken;  // one error for each picture that cannot be decoded
  std::vector<DuplicateGroup> duplicates;
  std::vector<std::string> name_problems;   // names that a text model is unlikely to understand, or to tell apart
  std::vector<std::string> notes;           // the dataset's own
  int smallest_side = 0, largest_side = 0;  // pixels, of the pictures that can be decoded

  bool good() const { return broken.empty() && duplicates.empty() && name_problems.empty(); }
};

/// Reads every picture, on `threads` threads. A file that stands in two parts is a duplicate across parts.
DatasetReport check_dataset(const Dataset& dataset, int threads, Progress* progress = nullptr);

/// What is wrong with class names: only digits, a placeholder such as "class 3", equal but for case, longer than 60
/// bytes.
std::vector<std::string> class_name_problems(const std::vector<std::string>& classes);

/// The pictures in rows of `columns`, each fitted into a white cell of `cell` x `cell` pixels; a broken one is a grey
/// cell. Throws UsageError where there is nothing to show or the sheet would exceed 64 million pixels.
Image contact_sheet(const Dataset& dataset, const std::vector<Sample>& samples, int columns, int cell);
/// The same with the first picture of each class and domain.
Image contact_sheet(const Dataset& dataset, int columns, int cell);

}  // namespace attune
