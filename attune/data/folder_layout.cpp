#include "attune/data/folder_layout.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

enum class Kind { kClass, kGroup };  // a folder of pictures, or a folder of folders

class FolderScan {
 public:
  explicit FolderScan(std::filesystem::path root) : root_(std::move(root)) {}

  Listing run(std::string& layout) {
    std::string top;
    FolderContent content = read_folder(root_);
    // Some archives keep their domains or classes one level down.
    if (content.folders.size() == 1 && content.folders.front() == "images") {
      top = "images";
      content = read_folder(root_ / top);
    }
    if (content.folders.empty()) {
      throw Error(
          fmt::format("{}: expected folders of pictures (class/*, split/class/* or domain/class/*), found no folder",
                      root_.string()));
    }
    const std::size_t splits = std::count_if(content.folders.begin(), content.folders.end(), is_part_name);
    if (kind_of_all(top, content.folders) == Kind::kClass) {
      if (splits == content.folders.size()) {
        throw Error(
            fmt::format("{}: expected classes inside {}, found pictures", root_.string(), content.folders.front()));
      }
      layout = "image folder class/*";
      for (const std::string& name : content.folders) add_class(join(top, name), name, "", Part::kAll);
    } else if (splits == content.folders.size()) {
      layout = "image folder split/class/*";
      for (const std::string& name : content.folders)
        add_classes(join(top, name), "", part_named(name, root_.string()));
    } else if (splits > 0) {
      throw Error(fmt::format("{}: expected splits or domains, found both: {}", root_.string(),
                              fmt::join(content.folders, ", ")));
    } else {
      layout = "domain folder domain/class/*";
      for (const std::string& name : content.folders) add_domain(join(top, name), name, layout);
    }
    if (ignored_ > 0) {
      listing_.notes.push_back(fmt::format(
          "{} files are not .jpg, .jpeg, .png or .webp and were passed over, such as {}", ignored_, first_ignored_));
    }
    return std::move(listing_);
  }

 private:
  static std::string join(const std::string& folder, const std::string& name) {
    return folder.empty() ? name : folder + "/" + name;
  }

  Kind kind_of(const std::string& folder) {
    const FolderContent content = read_folder(root_ / folder);
    const bool pictures = std::any_of(content.files.begin(), content.files.end(), is_picture_name);
    if (pictures && !content.folders.empty()) {
      throw Error(fmt::format("{}: expected pictures or folders, found both (folder {})", (root_ / folder).string(),
                              content.folders.front()));
    }
    if (!pictures && content.folders.empty()) {
      throw Error(fmt::format("{}: expected a class with at least one picture, found none", (root_ / folder).string()));
    }
    return pictures ? Kind::kClass : Kind::kGroup;
  }

  Kind kind_of_all(const std::string& parent, const std::vector<std::string>& names) {
    const Kind kind = kind_of(join(parent, names.front()));
    for (const std::string& name : names) {
      if (kind_of(join(parent, name)) != kind) {
        throw Error(fmt::format(
            "{}: expected all folders at one level, but of {} and {} one holds pictures and the other folders",
            (root_ / parent).string(), names.front(), name));
      }
    }
    return kind;
  }

  void add_domain(const std::string& folder, const std::string& domain, std::string& layout) {
    const std::vector<std::string> names = read_folder(root_ / folder).folders;
    if (kind_of_all(folder, names) == Kind::kClass) {
      for (const std::string& name : names) add_class(join(folder, name), name, domain, Part::kAll);
      return;
    }
    layout = "domain folder domain/split/class/*";
    const bool full = std::find(names.begin(), names.end(), "full") != names.end();
    for (const std::string& name : names) {
      if (full && (name == "train" || name == "crossval" || name == "val")) {
        listing_.notes.push_back(
            fmt::format("{}/{} was passed over: {}/full holds the same pictures", folder, name, folder));
      } else {
        const Part part = full && name == "full" ? Part::kTrain : part_named(name, (root_ / folder).string());
        add_classes(join(folder, name), domain, part);
      }
    }
  }

  void add_classes(const std::string& folder, const std::string& domain, Part part) {
    const std::vector<std::string> names = read_folder(root_ / folder).folders;
    if (kind_of_all(folder, names) != Kind::kClass) {
      throw Error(fmt::format("{}: expected classes of pictures, found folders of folders", (root_ / folder).string()));
    }
    for (const std::string& name : names) add_class(join(folder, name), name, domain, part);
  }

  void add_class(const std::string& folder, const std::string& name, const std::string& domain, Part part) {
    for (const std::string& file : read_folder(root_ / folder).files) {
      if (!is_picture_name(file)) {
        if (++ignored_ == 1) first_ignored_ = join(folder, file);
        continue;
      }
      Entry entry;
      entry.path = join(folder, file);
      entry.class_name = name;
      entry.domain = domain;
      entry.part = part;
      entry.where = entry.path;
      listing_.entries.push_back(std::move(entry));
    }
  }

  std::filesystem::path root_;
  Listing listing_;
  std::int64_t ignored_ = 0;
  std::string first_ignored_;
};

}  // namespace

bool is_picture_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string end(name.substr(dot + 1));
  std::transform(end.begin(), end.end(), end.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static constexpr std::array<std::string_view, 4> kEnds = {"jpg", "jpeg", "png", "webp"};
  return std::find(kEnds.begin(), kEnds.end(), end) != kEnds.end();
}

FolderContent read_folder(const std::filesystem::path& folder) {
  std::error_code problem;
  FolderContent content;
  std::filesystem::directory_iterator entries(folder, problem);
  if (problem) throw Error(fmt::format("cannot read the folder {}: {}", folder.string(), problem.message()));
  for (; !problem && entries != std::filesystem::directory_iterator(); entries.increment(problem)) {
    const auto& entry = *entries;
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) continue;
    std::error_code ignored;
    (entry.is_directory(ignored) ? content.folders : content.files).push_back(name);
  }
  if (problem) throw Error(fmt::format("cannot read the folder {}: {}", folder.string(), problem.message()));
  std::sort(content.folders.begin(), content.folders.end());
  std::sort(content.files.begin(), content.files.end());
  return content;
}

Listing list_folder(const std::filesystem::path& root, std::string& layout) {
  return FolderScan(root).run(layout);
}

}  // namespace attune
