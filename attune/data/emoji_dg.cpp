#include "attune/data/emoji_dg.h"

#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/data/class_names.h"
#include "attune/data/drawing_lists.h"
#include "attune/data/icon_set.h"
#include "attune/data/listing.h"
#include "attune/data/parallel.h"
#include "attune/images/encode.h"
#include "attune/images/svg.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kEmojiDgFormat = "emoji-dg-1";
constexpr std::array<std::uint8_t, 3> kWhite = {255, 255, 255};

/// Without a flush to the disk for each of thousands of pictures: the index, written last, makes the folder valid.
void write_picture(const fs::path& path, const std::string& png) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(png.data(), static_cast<std::streamsize>(png.size()));
  out.close();
  if (!out) throw Error(fmt::format("cannot write {}", path.string()));
}

/// A drawing to be made.
struct ListedDrawing {
  std::string path, code, set, domain, icon;
  std::size_t concept_at = 0;
};

std::vector<ListedDrawing> drawings_of(const DrawingLists& lists, const std::string& where) {
  std::vector<ListedDrawing> drawings;
  for (const auto& [domain, sets] : lists.domains) {
    for (const std::string& set : sets) {
      const auto& icons = lists.icons.at(set);
      for (std::size_t i = 0; i < lists.concepts.size(); ++i) {
        const auto& [code, name, subgroup, held_out] = lists.concepts[i];
        const auto icon = icons.find(code);
        if (icon == icons.end()) continue;
        const std::string path = fmt::format("{}/{}/{}/{}.png", domain, set, subgroup, code);
        drawings.push_back(
            {path_inside(path, ".", fmt::format("{}: concepts[{}]", where, i)), code, set, domain, icon->second, i});
      }
    }
  }
  return drawings;
}

Json index_of(const Json& lists, const std::vector<ListedDrawing>& drawings, int size, const std::string& hash) {
  Json index = {{"format", kEmojiDgFormat},      {"size", size},
                {"lists_sha256", hash},          {"subgroups", lists["subgroups"]},
                {"concepts", lists["concepts"]}, {"domains", Json::array()},
                {"pictures", Json::array()}};
  for (const auto& [domain, sets] : lists["domains"].items()) index["domains"].push_back(domain);
  for (const ListedDrawing& drawing : drawings) {
    index["pictures"].push_back(
        {{"path", drawing.path}, {"concept", drawing.concept_at}, {"domain", drawing.domain}, {"set", drawing.set}});
  }
  return index;
}

/// What the index says of concepts and subgroups, checked.
struct Benchmark {
  std::vector<std::string> names, subgroups;
  std::vector<std::int64_t> subgroup_of;  // -1: a concept outside the subgroups of the task
  std::vector<bool> held_out;
};

Benchmark read_benchmark(const Json& index, const std::string& where) {
  Benchmark benchmark;
  std::map<std::string, std::int64_t> keys;
  for (const Json& subgroup : json_at<Json>(index, "subgroups", where)) {
    keys.emplace(json_at<std::string>(subgroup, "key", where), benchmark.subgroups.size());
    benchmark.subgroups.push_back(json_at<std::string>(subgroup, "name", where));
  }
  for (const Json& item : json_at<Json>(index, "concepts", where)) {
    const auto key = keys.find(json_at<std::string>(item, "subgroup", where));
    benchmark.names.push_back(json_at<std::string>(item, "name", where));
    benchmark.subgroup_of.push_back(key == keys.end() ? -1 : key->second);
    benchmark.held_out.push_back(json_at<bool>(item, "held_out", where));
  }
  return benchmark;
}

}  // namespace

fs::path emoji_dg_folder() {
  return cache_folder() / kEmojiDgFormat;
}

void render_emoji_dg(const fs::path& lists_file, const fs::path& icons, const fs::path& out, int size, int threads,
                     Progress* progress) {
  if (size < 8 || size > 1024) throw UsageError(fmt::format("size: expected 8 to 1024 pixels, found {}", size));
  const std::string text = read_file(lists_file);
  const Json lists = parse_json(text, lists_file.string());
  const std::vector<ListedDrawing> drawings =
      drawings_of(parse_drawing_lists(text, lists_file.string()), lists_file.string());
  read_benchmark(lists, lists_file.string());
  std::map<std::string, std::unique_ptr<IconSet>> sets;
  for (const ListedDrawing& drawing : drawings) {
    auto& set = sets[drawing.set];
    if (!set) set = std::make_unique<IconSet>(open_icon_set(icons, drawing.set));
  }
  fs::remove(out / "index.json");
  const auto render = [&](std::int64_t i) {
    const ListedDrawing& drawing = drawings[static_cast<std::size_t>(i)];
    const std::string svg = sets.at(drawing.set)->svg(drawing.icon, size);
    const AlphaImage image = render_svg(svg, size, size, fmt::format("{}:{}", drawing.set, drawing.icon));
    write_picture(out / drawing.path, encode_png(composite(image, kWhite)));
  };
  parallel_for(static_cast<std::int64_t>(drawings.size()), threads, render, progress);
  write_json(out / "index.json", index_of(lists, drawings, size, sha256(text)));
}

Dataset open_emoji_dg(const fs::path& folder, EmojiTask task) {
  const fs::path file = folder / "index.json";
  if (!fs::exists(file)) {
    throw Error(
        fmt::format("emoji-dg: expected the rendered benchmark in {}, found none; `attune data render emoji-dg "
                    "--icons DIR` makes it from the installed icon sets",
                    folder.string()));
  }
  const std::string where = file.string();
  const Json index = read_json(file);
  if (json_at<std::string>(index, "format", where) != kEmojiDgFormat)
    throw Error(fmt::format("{}: expected the format {}", where, kEmojiDgFormat));
  const Benchmark benchmark = read_benchmark(index, where);
  const bool by_subgroup = task == EmojiTask::kSubgroups;
  Dataset dataset;
  dataset.name = by_subgroup ? "emoji-dg" : "emoji-dg:concepts";
  dataset.root = folder;
  dataset.layout = "Emoji-DG";
  dataset.prompt_template = "a drawing of a {}.";
  dataset.classes = by_subgroup ? benchmark.subgroups : benchmark.names;
  dataset.domains = json_at<std::vector<std::string>>(index, "domains", where);
  check_class_names(dataset.classes, where);
  std::map<std::string, std::int64_t> domains;
  for (const std::string& name : dataset.domains) domains.emplace(name, domains.size());
  for (const Json& picture : json_at<Json>(index, "pictures", where)) {
    const std::int64_t at = json_at<std::int64_t>(picture, "concept", where);
    const auto domain = domains.find(json_at<std::string>(picture, "domain", where));
    if (at < 0 || at >= static_cast<std::int64_t>(benchmark.names.size()) || domain == domains.end()) {
      throw Error(
          fmt::format("{}: expected the concept and domain of each picture to be listed, found concept {}", where, at));
    }
    const auto i = static_cast<std::size_t>(at);
    Sample sample;
    sample.path = path_inside(json_at<std::string>(picture, "path", where), folder, where);
    sample.label = by_subgroup ? benchmark.subgroup_of[i] : at;
    sample.domain = domain->second;
    sample.concept_name = benchmark.names[i];
    sample.held_out = benchmark.held_out[i];
    if (sample.label >= 0) (sample.held_out ? dataset.test : dataset.train).push_back(std::move(sample));
  }
  if (dataset.train.empty() && dataset.test.empty())
    throw Error(fmt::format("{}: expected pictures, found none", where));
  return dataset;
}

}  // namespace attune
