#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/data/class_names.h"
#include "attune/data/listing.h"
#include "attune/data/splits.h"

namespace attune {
namespace {

constexpr std::string_view kFormat = "attune-split-1";

std::string relative_path(const Dataset& dataset, const Sample& sample) {
  return path_inside(sample.path.generic_string(), dataset.root, dataset.name);
}

Json json_of(const Dataset& dataset, const std::vector<Sample>& samples) {
  Json list = Json::array();
  for (const Sample& sample : samples) {
    Json item = {{"path", relative_path(dataset, sample)}, {"label", sample.label}, {"domain", sample.domain}};
    if (!sample.concept_name.empty()) item["concept"] = sample.concept_name;
    if (sample.held_out) item["held_out"] = true;
    if (!sample.caption.empty()) item["caption"] = sample.caption;
    list.push_back(std::move(item));
  }
  return list;
}

Json content_of(const Dataset& dataset) {
  return {{"classes", dataset.classes},
          {"domains", dataset.domains},
          {"train", json_of(dataset, dataset.train)},
          {"val", json_of(dataset, dataset.val)},
          {"test", json_of(dataset, dataset.test)},
          {"all", json_of(dataset, dataset.all)}};
}

// Names need not be valid UTF-8 on Linux; what is not becomes the replacement character, in the file as in the hash.
std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::vector<Sample> samples_of(const Json& json, const char* part, const Dataset& dataset, const std::string& where) {
  std::vector<Sample> samples;
  const Json list = json_at<Json>(json, part, where);
  if (!list.is_array()) throw Error(fmt::format("{}: expected \"{}\" to be a list", where, part));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string here = fmt::format("{}: {}[{}]", where, part, i);
    Sample sample;
    sample.path = path_inside(json_at<std::string>(list[i], "path", here), dataset.root, here);
    sample.label = json_at<std::int64_t>(list[i], "label", here);
    sample.domain = json_at<std::int64_t>(list[i], "domain", here);
    sample.concept_name = json_or<std::string>(list[i], "concept", "", here);
    sample.held_out = json_or<bool>(list[i], "held_out", false, here);
    sample.caption = json_or<std::string>(list[i], "caption", "", here);
    if (sample.label < 0 || sample.label >= static_cast<std::int64_t>(dataset.classes.size())) {
      throw Error(fmt::format("{}: expected a label below {}, found {}", here, dataset.classes.size(), sample.label));
    }
    if (sample.domain < 0 || sample.domain >= static_cast<std::int64_t>(dataset.domains.size())) {
      throw Error(fmt::format("{}: expected a domain below {}, found {}", here, dataset.domains.size(), sample.domain));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

std::string split_hash(const Dataset& dataset) {
  return sha256(text_of(content_of(dataset), -1));
}

void save_split(const std::filesystem::path& file, const Dataset& dataset, const SplitRecord& record) {
  Json json = {{"format", kFormat},       {"name", dataset.name},  {"rule", record.rule},
               {"seed", record.seed},     {"shots", record.shots}, {"template", dataset.prompt_template},
               {"layout", dataset.layout}};
  const Json content = content_of(dataset);
  json["sha256"] = sha256(text_of(content, -1));
  json.update(content);
  write_file(file, text_of(json, 1) + "\n");
}

Dataset load_split(const std::filesystem::path& file, const std::filesystem::path& root, SplitRecord* record) {
  const std::string where = file.string();
  const Json json = read_json(file);
  if (json_at<std::string>(json, "format", where) != kFormat) {
    throw Error(fmt::format("{}: expected the format {}, found {}", where, kFormat,
                            json_at<std::string>(json, "format", where)));
  }
  Dataset dataset;
  dataset.root = root;
  dataset.name = json_at<std::string>(json, "name", where);
  dataset.layout = json_at<std::string>(json, "layout", where);
  dataset.prompt_template = json_at<std::string>(json, "template", where);
  dataset.classes = json_at<std::vector<std::string>>(json, "classes", where);
  dataset.domains = json_at<std::vector<std::string>>(json, "domains", where);
  check_class_names(dataset.classes, where);
  dataset.train = samples_of(json, "train", dataset, where);
  dataset.val = samples_of(json, "val", dataset, where);
  dataset.test = samples_of(json, "test", dataset, where);
  dataset.all = samples_of(json, "all", dataset, where);
  const std::string stated = json_at<std::string>(json, "sha256", where);
  const std::string found = split_hash(dataset);
  if (stated != found)
    throw Error(fmt::format("{}: expected the content of SHA-256 {}, found {}", where, stated, found));
  if (record != nullptr) {
    record->rule = json_at<std::string>(json, "rule", where);
    record->seed = static_cast<std::uint64_t>(json_at<std::int64_t>(json, "seed", where));
    record->shots = static_cast<int>(json_at<std::int64_t>(json, "shots", where));
  }
  return dataset;
}

}  // namespace attune
