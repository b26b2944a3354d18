#include "attune/data/layouts.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/class_names.h"
#include "attune/data/emoji_dg.h"
#include "attune/data/folder_layout.h"
#include "attune/data/known_sets.h"
#include "attune/data/listing.h"
#include "attune/data/split_files.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kLargestList = 512U << 20;

enum class ListKind { kCoop, kSpg, kJsonLines, kCsv };

bool starts_like_a_listing(const fs::path& csv) {
  std::string head = read_file(csv, kLargestList).substr(0, 4096);
  head = head.substr(0, head.find('\n'));
  return head.find("filepath") != std::string::npos && head.find("label") != std::string::npos;
}

bool list_kind_of(const std::string& name, ListKind& kind) {
  if (name.ends_with("_train_val_split.json")) return kind = ListKind::kSpg, true;
  if (name.starts_with("split_") && name.ends_with(".json")) return kind = ListKind::kCoop, true;
  if (name.ends_with(".jsonl")) return kind = ListKind::kJsonLines, true;
  if (name.ends_with(".csv")) return kind = ListKind::kCsv, true;
  return false;
}

/// The part that train.csv, val.jsonl and the like stand for; every other name leaves its pictures undivided.
Part part_of_file(const fs::path& file) {
  const std::string stem = file.stem().string();
  return is_part_name(stem) ? part_named(stem, file.string()) : Part::kAll;
}

Listing read_list(const fs::path& file, ListKind kind) {
  const std::string text = read_file(file, kLargestList);
  switch (kind) {
    case ListKind::kJsonLines:
      return parse_jsonl(text, file.string(), part_of_file(file));
    case ListKind::kCsv:
      return parse_csv_listing(text, file.string(), part_of_file(file));
    case ListKind::kCoop:
    case ListKind::kSpg:
      break;
  }
  return parse_split_json(text, file.string());
}

/// The folder against which the paths of a list are meant: the list's own, one of its subfolders (CoOp's `images`) or
/// one of the three above it (SPG's data root), the first that has the first picture.
fs::path pictures_folder(const Listing& listing, const fs::path& list, const OpenOptions& options) {
  if (!options.pictures.empty()) return options.pictures;
  fs::path folder = fs::absolute(list).parent_path();
  const Entry& first = listing.entries.front();
  if (fs::path(first.path).is_absolute()) return folder;
  std::vector<fs::path> candidates = {folder};
  for (const std::string& name : read_folder(folder).folders) candidates.push_back(folder / name);
  fs::path above = folder;
  for (int level = 0; level < 3 && above.has_parent_path(); ++level) candidates.push_back(above = above.parent_path());
  for (const fs::path& candidate : candidates) {
    const std::string inside = path_inside(first.path, candidate, first.where);
    if (fs::exists(candidate / inside)) return candidate;
  }
  throw Error(
      fmt::format("{}: expected the picture \"{}\" in {}, one of its folders or a folder above it, found it in none",
                  first.where, first.path, folder.string()));
}

void check_pictures(Listing& listing, const fs::path& root, const OpenOptions& options) {
  for (Entry& entry : listing.entries) {
    entry.path = path_inside(entry.path, root, entry.where);
    if (options.check_files && !fs::exists(root / entry.path)) {
      throw Error(
          fmt::format("{}: expected the picture {}, which does not exist", entry.where, (root / entry.path).string()));
    }
  }
}

std::string layout_name(ListKind kind) {
  switch (kind) {
    case ListKind::kCoop:
      return "CoOp split file";
    case ListKind::kSpg:
      return "SPG split files";
    case ListKind::kJsonLines:
      return "JSON lines";
    case ListKind::kCsv:
      break;
  }
  return "CSV";
}

/// The template of the data set that split_zhou_NAME.json or split_cao_NAME.json is the division of, where it is known.
std::optional<std::string> template_of_split(const fs::path& file) {
  const std::string stem = file.stem().string();
  for (const std::string_view prefix : {"split_zhou_", "split_cao_"}) {
    if (stem.starts_with(prefix)) return known_template(stem.substr(prefix.size()));
  }
  return std::nullopt;
}

Dataset open_lists(const std::vector<fs::path>& files, ListKind kind, const OpenOptions& options) {
  Listing listing;
  std::vector<std::pair<std::string, std::string>> letters;
  for (const fs::path& file : files) {
    Listing one = read_list(file, kind);
    const std::string stem = file.filename().string();
    if (kind == ListKind::kSpg) letters.emplace_back(one.entries.front().domain, stem.substr(0, stem.find('_')));
    std::move(one.entries.begin(), one.entries.end(), std::back_inserter(listing.entries));
  }
  if (kind == ListKind::kSpg) name_indexed_domains(listing, letters);
  const fs::path root = pictures_folder(listing, files.front(), options);
  check_pictures(listing, root, options);
  std::vector<std::string> raw_classes;
  Dataset dataset = number_classes(listing, raw_classes);
  dataset.root = root;
  name_classes(dataset, raw_classes);
  dataset.layout = layout_name(kind);
  if (const auto known = template_of_split(files.front())) dataset.prompt_template = *known;
  return dataset;
}

/// The lists in a folder, of one kind. Throws Error where there are several kinds or several lists that do not belong
/// together.
std::vector<fs::path> lists_in(const fs::path& folder, ListKind& kind) {
  std::map<ListKind, std::vector<fs::path>> found;
  for (const std::string& name : read_folder(folder).files) {
    ListKind of;
    if (list_kind_of(name, of) && (of != ListKind::kCsv || starts_like_a_listing(folder / name)))
      found[of].push_back(folder / name);
  }
  if (fs::is_directory(folder / "spg_coop_splits")) {
    for (const std::string& name : read_folder(folder / "spg_coop_splits").files) {
      ListKind of;
      if (list_kind_of(name, of) && of == ListKind::kSpg) found[of].push_back(folder / "spg_coop_splits" / name);
    }
  }
  if (found.empty()) return {};
  const auto& [first, files] = *found.begin();
  const bool parts =
      std::all_of(files.begin(), files.end(), [](const fs::path& f) { return is_part_name(f.stem().string()); });
  if (found.size() > 1 || (files.size() > 1 && first != ListKind::kSpg && !parts)) {
    std::vector<std::string> names;
    for (const auto& [of, some] : found) {
      for (const fs::path& file : some) names.push_back(file.filename().string());
    }
    throw Error(fmt::format("{}: expected one list of pictures, found {}; give the path of the one that is meant",
                            folder.string(), fmt::join(names, ", ")));
  }
  kind = first;
  return files;
}

std::string name_of(const fs::path& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

Dataset open_folder(const fs::path& path) {
  std::string layout;
  std::vector<std::string> raw_classes;
  Dataset dataset = number_classes(list_folder(path, layout), raw_classes);
  dataset.root = path;
  dataset.name = name_of(path);
  name_classes(dataset, raw_classes);
  dataset.layout = layout;
  complete_known_set(dataset, raw_classes);
  return dataset;
}

Dataset open_aircraft(const fs::path& path, const OpenOptions& options) {
  Listing listing = list_aircraft(path);
  check_pictures(listing, path, options);
  std::vector<std::string> raw_classes;
  Dataset dataset = number_classes(listing, raw_classes);
  dataset.root = path;
  dataset.name = name_of(path);
  name_classes(dataset, raw_classes);
  dataset.layout = "FGVC-Aircraft";
  dataset.prompt_template = dataset_template("FGVCAircraft");
  return dataset;
}

Dataset open_path(const fs::path& path, const OpenOptions& options) {
  ListKind kind{};
  if (!fs::exists(path))
    throw Error(fmt::format("dataset: expected a folder, a list of pictures or emoji-dg, found no {}", path.string()));
  if (!fs::is_directory(path)) {
    if (!list_kind_of(path.filename().string(), kind)) {
      if (path.extension() != ".json") {
        throw Error(fmt::format("{}: expected a folder, split_*.json, *_train_val_split.json, *.jsonl or *.csv",
                                path.string()));
      }
      kind = ListKind::kCoop;
    }
    Dataset dataset = open_lists({path}, kind, options);
    dataset.name = kind == ListKind::kCoop ? name_of(fs::absolute(path).parent_path()) : path.stem().string();
    return dataset;
  }
  Dataset dataset;
  if (const std::vector<fs::path> lists = lists_in(path, kind); !lists.empty()) {
    dataset = open_lists(lists, kind, options);
    dataset.name = name_of(path);
    return dataset;
  }
  return is_aircraft_folder(path) ? open_aircraft(path, options) : open_folder(path);
}

}  // namespace

Dataset open_dataset(const std::string& name_or_path, const OpenOptions& options) {
  if (name_or_path == "emoji-dg") return open_emoji_dg(emoji_dg_folder(), EmojiTask::kSubgroups);
  if (name_or_path == "emoji-dg:concepts") return open_emoji_dg(emoji_dg_folder(), EmojiTask::kConcepts);
  return open_path(name_or_path, options);
}

}  // namespace attune
