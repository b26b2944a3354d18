#pragma once

#include <span>
#include <string>
#include <string_view>

#include "attune/evaluation/study_table.h"

namespace attune {

/// A number that somebody else printed, in per cent.
struct PublishedScore {
  std::string_view method;  // as in the registry, or the published name where there is no such method here
  std::string_view data;    // as data_name writes it; "coop-eleven": the mean over the eleven data sets of CoOp
  std::string_view column;  // "average", "base", "new", "HM", or the name of a test set
  double per_cent;
  double deviation;  // as printed; 0 where none was
};

/// Numbers of one source that belong to one setting.
struct PublishedTable {
  std::string_view protocol;
  std::string_view backbone;  // "ViT-B/16" or "RN50", OpenAI's weights
  int shots;                  // 0: all training pictures
  std::string_view source;    // where the numbers were read
  std::span<const PublishedScore> scores;
};

std::span<const PublishedTable> published_tables();

/// "OfficeHome" for "office_home", "Oxford-Pets" and so on: the name by which published numbers know a data set; empty
/// where they know none of this name.
std::string_view data_name(std::string_view dataset);
/// The backbone that a model's name stands for; empty for every model but OpenAI's ViT-B/16 and RN50.
std::string_view backbone_name(std::string_view model);

/// Published numbers in the study's own setting (data, backbone, protocol and shots), beside what the study measured
/// for the same methods, and never a part of any of its averages. Empty where nothing was published for it.
std::string published_section(const StudyRecord& study, const StudyTable& table);

}  // namespace attune
