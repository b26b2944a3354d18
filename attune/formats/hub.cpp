#include "attune/formats/hub.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <unistd.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/file_lock.h"
#include "attune/base/files.h"
#include "attune/base/http.h"
#include "attune/base/json.h"
#include "attune/base/log.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "hf-hub:";
constexpr double kTimeout = 60;  // seconds, of a listing
constexpr std::string_view kIndexEnding = ".safetensors.index.json";

bool is_word(std::string_view text, std::string_view more) {
  return !text.empty() && text.front() != '.' && text.find("..") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [&](unsigned char letter) {
           return std::isalnum(letter) != 0 || more.find(static_cast<char>(letter)) != std::string_view::npos;
         });
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_set(const char* name) {
  const std::string value = environment(name);
  return !value.empty() && value != "0" && value != "false" && value != "FALSE";
}

fs::path hub_cache() {
  if (const std::string own = environment("HF_HUB_CACHE"); !own.empty()) return own;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  const std::string cache = environment("XDG_CACHE_HOME");
  return (cache.empty() ? fs::path(environment("HOME")) / ".cache" : fs::path(cache)) / "huggingface" / "hub";
}

/// Where the hub's own programs keep a repository.
fs::path repository_folder(const HubName& name) {
  std::string flat = name.repository;
  if (const auto slash = flat.find('/'); slash != std::string::npos) flat.replace(slash, 1, "--");
  return hub_cache() / ("models--" + flat);
}

bool has_weights(const fs::path& folder) {
  if (fs::exists(folder / "model.safetensors")) return fs::exists(folder / "config.json");
  if (fs::exists(folder / "open_clip_model.safetensors")) return fs::exists(folder / "open_clip_config.json");
  const fs::path index = folder / "model.safetensors.index.json";
  if (!fs::exists(index) || !fs::exists(folder / "config.json")) return false;
  const Json shards = json_at<Json>(read_json(index), "weight_map", index.string());
  return std::all_of(shards.begin(), shards.end(), [&](const Json& shard) {
    return shard.is_string() && fs::exists(folder / shard.get<std::string>());
  });
}

/// The commit that the cache knows a revision by.
std::optional<std::string> known_commit(const fs::path& repository, const std::string& revision) {
  if (is_commit(revision)) return revision;
  const fs::path reference = repository / "refs" / revision;
  if (!fs::is_regular_file(reference)) return std::nullopt;
  std::string commit = read_file(reference, 1024);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0) commit.pop_back();
  return is_commit(commit) ? std::optional<std::string>(commit) : std::nullopt;
}

std::string endpoint() {
  std::string url = environment("HF_ENDPOINT");
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url.empty() ? "https://huggingface.co" : url;
}

std::string reason_of(const HttpAnswer& answer) {
  if (answer.status == 401 || answer.status == 403) {
    return fmt::format("the hub answered {}: the model does not exist, or needs a token in HF_TOKEN", answer.status);
  }
  if (answer.status >= 400) return fmt::format("the hub answered {}", answer.status);
  return answer.problem.empty() ? fmt::format("the hub answered {}", answer.status) : answer.problem;
}

/// Says now and then how far a download is.
class Reporter {
 public:
  Reporter(std::string name, std::uint64_t total) : name_(std::move(name)), total_(total) {}
  void operator()(std::uint64_t bytes) {
    const auto now = std::chrono::steady_clock::now();
    if (now - said_ < std::chrono::seconds(5)) return;
    said_ = now;
    log_info(fmt::format("{}: {} of {} MB", name_, bytes >> 20, total_ >> 20));
  }

 private:
  std::string name_;
  std::uint64_t total_;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

/// A file to lock.
struct OpenFile {
  explicit OpenFile(const fs::path& path) : descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor < 0) throw Error(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(descriptor); }
  int descriptor;
};

/// Downloads beside `target` and renames what is complete and as the hub lists it.
void fetch(HttpClient& client, const HttpClient::Headers& headers, const std::string& url, const HubFile& file,
           const fs::path& target) {
  const fs::path part = target.string() + ".incomplete";
  Reporter reporter(file.name, file.bytes);
  std::error_code absent;
  if (fs::file_size(part, absent) != file.bytes || absent) {
    const HttpAnswer answer = client.download(url, headers, part, reporter);
    if (!answer.problem.empty()) throw Error(fmt::format("{}: {}", url, reason_of(answer)));
  }
  const std::uint64_t bytes = fs::file_size(part);
  const bool same = bytes == file.bytes && (file.sha256.empty() || sha256_of_file(part) == file.sha256);
  if (!same) {
    fs::remove(part);
    throw Error(
        fmt::format("{}: expected {} bytes with the SHA-256 sum {}, found {} bytes that differ; they were "
                    "thrown away, try again",
                    url, file.bytes, file.sha256.empty() ? "(not listed)" : file.sha256, bytes));
  }
  fs::rename(part, target);
}

fs::path download_model(const HubName& name, const fs::path& repository) {
  HttpClient client(kTimeout);
  HttpClient::Headers headers;
  if (const std::string token = environment("HF_TOKEN"); !token.empty()) {
    headers.push_back("Authorization: Bearer " + token);
  }
  const std::string where = fmt::format("hf-hub:{}@{}", name.repository, name.revision);
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}?blobs=true", endpoint(), name.repository, name.revision);
  const HttpAnswer answer = client.get(url, headers);
  if (answer.status != 200) throw Error(fmt::format("{}: {}: {}", where, url, reason_of(answer)));
  const HubListing listing = parse_hub_listing(answer.body, where);
  const std::vector<HubFile> files = files_of_model(listing, where);

  fs::path folder = repository / "snapshots" / listing.commit;
  fs::create_directories(folder);
  const fs::path lock_path = repository / "attune.lock";
  const OpenFile lock_file(lock_path);
  const FileLock lock(lock_file.descriptor, lock_path);
  for (const HubFile& file : files) {
    if (fs::exists(folder / file.name)) continue;
    log_info(
        fmt::format("{}: downloading {} ({:.1f} MB)", where, file.name, static_cast<double>(file.bytes) / 1048576));
    fetch(client, headers, fmt::format("{}/{}/resolve/{}/{}", endpoint(), name.repository, listing.commit, file.name),
          file, folder / file.name);
  }
  if (!is_commit(name.revision)) write_file(repository / "refs" / name.revision, listing.commit);
  return folder;
}

}  // namespace

bool is_hub_name(std::string_view name) {
  return name.starts_with(kPrefix);
}

HubName parse_hub_name(std::string_view name) {
  HubName parsed;
  std::string_view rest = is_hub_name(name) ? name.substr(kPrefix.size()) : name;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    parsed.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
  }
  parsed.repository = rest;
  const auto slash = rest.find('/');
  const bool named = slash != std::string_view::npos && is_word(rest.substr(0, slash), "-_.") &&
                     is_word(rest.substr(slash + 1), "-_.");
  if (!is_hub_name(name) || !named || !is_word(parsed.revision, "-_./")) {
    throw UsageError(
        fmt::format("model: expected hf-hub:ORGANISATION/NAME or hf-hub:ORGANISATION/NAME@REVISION, found "
                    "\"{}\"",
                    name));
  }
  return parsed;
}

HubListing parse_hub_listing(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where);
  HubListing listing;
  listing.commit = json_at<std::string>(json, "sha", where);
  if (!is_commit(listing.commit)) throw Error(fmt::format("{}: expected a commit of 40 digits in \"sha\"", where));
  const Json siblings = json_at<Json>(json, "siblings", where);
  if (!siblings.is_array()) throw Error(fmt::format("{}: expected an array \"siblings\"", where));
  for (const Json& sibling : siblings) {
    HubFile file;
    file.name = json_at<std::string>(sibling, "rfilename", where);
    const Json lfs = json_or<Json>(sibling, "lfs", Json::object(), where);
    file.sha256 = json_or<std::string>(lfs, "sha256", "", where);
    const auto bytes = json_or<std::int64_t>(lfs, "size", json_or<std::int64_t>(sibling, "size", -1, where), where);
    if (bytes < 0) throw Error(fmt::format("{}: expected a \"size\" of {} that is not negative", where, file.name));
    file.bytes = static_cast<std::uint64_t>(bytes);
    listing.files.push_back(std::move(file));
  }
  return listing;
}

std::vector<HubFile> files_of_model(const HubListing& listing, const std::string& where) {
  std::vector<HubFile> chosen;
  const auto find = [&](std::string_view name) {
    return std::find_if(listing.files.begin(), listing.files.end(),
                        [&](const HubFile& file) { return file.name == name; });
  };
  const auto has = [&](std::string_view name) { return find(name) != listing.files.end(); };
  const auto take = [&](std::string_view name) {
    if (const auto found = find(name); found != listing.files.end()) chosen.push_back(*found);
  };
  const bool whole = has("model.safetensors"), shards = has("model" + std::string(kIndexEnding));
  const bool hugging_face = has("config.json") && (whole || shards);
  if (!hugging_face && !(has("open_clip_config.json") && has("open_clip_model.safetensors"))) {
    std::string found;
    for (const HubFile& file : listing.files) {
      if (file.name.ends_with(".bin") || file.name.ends_with(".pt") || file.name.ends_with(".safetensors")) {
        found += (found.empty() ? "" : ", ") + file.name;
      }
    }
    throw Error(
        fmt::format("{}: expected config.json with model.safetensors, or open_clip_config.json with "
                    "open_clip_model.safetensors; the weights there are: {}",
                    where, found.empty() ? "none" : found));
  }
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "preprocessor_config.json"}) take(name);
  if (!hugging_face) {
    take("open_clip_config.json");
    take("open_clip_model.safetensors");
    return chosen;
  }
  take("config.json");
  if (whole) {
    take("model.safetensors");
    return chosen;
  }
  for (const HubFile& file : listing.files) {
    const bool shard = file.name.starts_with("model-") && file.name.ends_with(".safetensors");
    if (shard && is_word(file.name, "-_.")) chosen.push_back(file);
  }
  take("model" + std::string(kIndexEnding));
  return chosen;
}

std::filesystem::path hub_folder(const std::string& name) {
  const HubName parsed = parse_hub_name(name);
  const fs::path repository = repository_folder(parsed);
  if (const auto commit = known_commit(repository, parsed.revision)) {
    fs::path folder = repository / "snapshots" / *commit;
    if (has_weights(folder)) return folder;
  }
  if (is_set("HF_HUB_OFFLINE")) {
    throw Error(fmt::format("{}: expected it in {}, found no complete copy, and HF_HUB_OFFLINE forbids a download",
                            name, repository.string()));
  }
  return download_model(parsed, repository);
}

}  // namespace attune
