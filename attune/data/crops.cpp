#include "attune/data/crops.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/formats/csv.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

struct CutPart {
  const char* name;
  const std::vector<BoxPicture>& pictures;
};

/// Whole pixels of a picture.
struct Window {
  int left, top, width, height;
};

/// A name that is one folder or file on every system.
std::string file_name(std::string_view text) {
  std::string name;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    name += code < 0x20 || code == 0x7F || std::string_view("/\\:*?\"<>|").find(c) != std::string_view::npos ? '_' : c;
  }
  if (name.empty() || name.front() == '.') name.insert(name.begin(), '_');
  return name;
}

/// The box with its margin in a picture of `width` x `height` pixels.
Window window_of(const Box& box, double margin, int width, int height, const std::string& where) {
  const auto edge = [](double at, int limit) { return static_cast<int>(std::clamp<double>(at, 0, limit)); };
  const bool outside = box.x >= width || box.y >= height || box.x + box.width <= 0 || box.y + box.height <= 0;
  if (outside || !(box.width > 0 && box.height > 0)) {
    throw Error(fmt::format("{}: expected a box within the picture of {} x {}, found {} x {} at {}, {}", where, width,
                            height, box.width, box.height, box.x, box.y));
  }
  const double across = margin * box.width, down = margin * box.height;
  const int left = edge(std::floor(box.x - across), width), top = edge(std::floor(box.y - down), height);
  return {left, top, edge(std::ceil(box.x + box.width + across), width) - left,
          edge(std::ceil(box.y + box.height + down), height) - top};
}

/// The crops of one set on their way into a folder.
class Cutter {
 public:
  Cutter(const BoxDataset& dataset, fs::path folder, const CropOptions& options)
      : dataset_(dataset), folder_(std::move(folder)), options_(options) {
    std::map<std::string, std::string> folders;
    for (const BoxCategory& category : dataset.categories) {
      const auto [at, added] = folders.emplace(file_name(category.name), category.name);
      if (!added) {
        throw Error(fmt::format("{}: the categories \"{}\" and \"{}\" would share the folder {}", dataset.name,
                                at->second, category.name, at->first));
      }
    }
  }

  void cut(const BoxPicture& picture, const std::string& part) {
    std::vector<std::pair<std::size_t, const BoxLabel*>> wanted;
    for (std::size_t i = 0; i < picture.labels.size(); ++i) {
      if (takes(picture.labels[i])) wanted.emplace_back(i, &picture.labels[i]);
    }
    if (wanted.empty()) return;
    const fs::path path = dataset_.root / picture.path;
    const Image image = read_image(path);
    if (image.width != picture.width || image.height != picture.height) {
      throw Error(fmt::format("{}: annotated as {} x {} pixels, found {} x {}", path.string(), picture.width,
                              picture.height, image.width, image.height));
    }
    for (const auto& [place, label] : wanted) cut_box(image, picture, part, place, *label);
  }

  void write_listing() const {
    std::map<std::int64_t, std::size_t> numbers;  // categories without a crop are no classes
    for (const auto& [key, count] : counts_) numbers.emplace(key.second, 0);
    std::size_t next = 0;
    for (auto& [category, number] : numbers) number = next++;
    const bool parts = !counts_.begin()->first.first.empty();
    std::string text =
        fmt::format("filepath,label,classname{},picture,box,left,top,width,height\n", parts ? ",split" : "");
    for (const Row& row : rows_) {
      text += fmt::format("{},{},{}{},{},{},{},{},{},{}\n", csv_field(row.path), numbers.at(row.category),
                          csv_field(class_name(row.category)), parts ? "," + row.part : "", csv_field(row.picture),
                          row.box, row.window.left, row.window.top, row.window.width, row.window.height);
    }
    write_file(folder_ / "crops.csv", text);
  }

  CropReport report() const {
    CropReport report = left_out_;
    for (const char* part : {"train", "val", "test", ""}) {
      for (const auto& [key, count] : counts_) {
        if (key.first == part) report.counts.push_back({part, class_name(key.second), count});
      }
    }
    return report;
  }

 private:
  struct Row {
    std::string path, part, picture;
    std::int64_t category;
    std::size_t box;
    Window window;
  };

  const std::string& class_name(std::int64_t category) const {
    return dataset_.categories[static_cast<std::size_t>(category)].name;
  }

  bool takes(const BoxLabel& label) {
    if (label.crowd) return ++left_out_.crowds, false;
    if (label.ignored) return ++left_out_.ignored, false;
    if (std::min(label.box.width, label.box.height) < options_.least) return ++left_out_.small, false;
    return true;
  }

  void cut_box(const Image& image, const BoxPicture& picture, const std::string& part, std::size_t place,
               const BoxLabel& label) {
    const std::string where = fmt::format("{}, box {}", (dataset_.root / picture.path).string(), place);
    const Window window = window_of(label.box, options_.margin, image.width, image.height, where);
    const fs::path relative = fs::path(part) / file_name(class_name(label.category)) /
                              fmt::format("{}-{}.png", file_name(picture.path.stem().string()), place);
    const std::string name = relative.generic_string();
    if (!names_.insert(name).second) throw Error(fmt::format("{}: another crop is called {} too", where, name));
    write_file(folder_ / relative, encode_png(crop(image, window.left, window.top, window.width, window.height)));
    rows_.push_back({name, part, picture.path.generic_string(), label.category, place, window});
    ++counts_[{part, label.category}];
  }

  const BoxDataset& dataset_;
  fs::path folder_;
  CropOptions options_;
  CropReport left_out_;
  std::vector<Row> rows_;
  std::set<std::string> names_;
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> counts_;
};

/// A folder that is removed with everything in it, unless it has been renamed.
class UnfinishedFolder {
 public:
  explicit UnfinishedFolder(fs::path path) : path_(std::move(path)) {
    if (fs::exists(path_)) {
      throw UsageError(fmt::format("{}: left by a run that was cut off, or in use; remove it first", path_.string()));
    }
    fs::create_directories(path_);
  }
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;
  ~UnfinishedFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

CropReport cut_crops(const BoxDataset& dataset, const fs::path& out, const CropOptions& options, Progress* progress) {
  if (!(options.margin >= 0 && options.margin <= 10)) {
    throw UsageError(fmt::format("--margin: expected 0 to 10, found {}", options.margin));
  }
  if (options.least < 1) throw UsageError(fmt::format("--least: expected at least 1, found {}", options.least));
  if (fs::exists(out)) throw UsageError(fmt::format("{}: exists already; crops want a new folder", out.string()));

  const UnfinishedFolder folder(fs::absolute(out / "").parent_path().string() + ".unfinished");
  Cutter cutter(dataset, folder.path(), options);
  const CutPart parts[] = {{"train", dataset.train}, {"val", dataset.val}, {"test", dataset.test}, {"", dataset.all}};
  std::size_t done = 0, total = 0;
  for (const CutPart& part : parts) total += part.pictures.size();
  for (const CutPart& part : parts) {
    for (const BoxPicture& picture : part.pictures) {
      if (stop_requested()) throw Error(fmt::format("{}: stopped before the end; nothing is kept", out.string()));
      cutter.cut(picture, part.name);
      if (progress != nullptr)
        progress->update(static_cast<std::int64_t>(++done), static_cast<std::int64_t>(total), "");
    }
  }
  CropReport report = cutter.report();
  if (report.counts.empty()) {
    throw Error(
        fmt::format("{}: expected a box of at least {} pixels a side, found none ({} smaller, {} of crowds, {} "
                    "marked as too hard)",
                    dataset.name, options.least, report.small, report.crowds, report.ignored));
  }
  cutter.write_listing();
  fs::rename(folder.path(), out);
  return report;
}

}  // namespace attune
