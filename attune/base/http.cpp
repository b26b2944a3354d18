#include "attune/base/http.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>

#include <curl/curl.h>
#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/log.h"

namespace attune {
namespace {

constexpr std::size_t kMostBytes = std::size_t{8} << 20;
constexpr double kConnectTimeout = 20;  // seconds
constexpr long kSilence = 60;           // seconds without a byte after which a download is given up
constexpr long kMostRedirects = 8;

std::size_t collect(char* data, std::size_t size, std::size_t count, void* user) {
  auto& body = *static_cast<std::string*>(user);
  if (body.size() + size * count > kMostBytes) return 0;
  body.append(data, size * count);
  return size * count;
}

/// A file that grows as bytes arrive.
struct Growing {
  std::ofstream file;
  std::uint64_t bytes = 0;
  const std::function<void(std::uint64_t)>& on_bytes;
};

std::size_t append(char* data, std::size_t size, std::size_t count, void* user) {
  auto& growing = *static_cast<Growing*>(user);
  if (!growing.file.write(data, static_cast<std::streamsize>(size * count))) return 0;
  growing.bytes += size * count;
  if (growing.on_bytes) growing.on_bytes(growing.bytes);
  return size * count;
}

int on_progress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return stop_requested() ? 1 : 0;
}

bool is_local(const std::string& url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string::npos) return false;
  const std::string rest = url.substr(begin + 3);
  for (const char* host : {"127.0.0.1", "localhost", "[::1]"}) {
    if (rest.starts_with(host)) return true;
  }
  return false;
}

void* open_connection() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  return curl_easy_init();
}

}  // namespace

HttpClient::HttpClient(double timeout) : handle_(open_connection()), timeout_(timeout) {
  if (handle_ == nullptr) throw Error("http: expected a connection handle from libcurl, found none");
}

HttpClient::~HttpClient() {
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
  curl_easy_cleanup(handle_);
}

void HttpClient::begin(const std::string& url, const Headers& headers) {
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
  curl_slist* list = nullptr;
  for (const std::string& header : headers) list = curl_slist_append(list, header.c_str());
  headers_ = list;

  curl_easy_reset(handle_);
  curl_easy_setopt(handle_, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(handle_, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle_, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle_, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ * 1000));
  curl_easy_setopt(handle_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout * 1000));
  if (is_local(url)) curl_easy_setopt(handle_, CURLOPT_NOPROXY, "*");
}

HttpAnswer HttpClient::perform() {
  HttpAnswer answer;
  std::array<char, CURL_ERROR_SIZE> reason{};
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, reason.data());
  const CURLcode code = curl_easy_perform(handle_);
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, nullptr);
  if (code != CURLE_OK) answer.problem = reason[0] != '\0' ? reason.data() : curl_easy_strerror(code);
  if (code != CURLE_OK && code != CURLE_HTTP_RETURNED_ERROR && code != CURLE_RANGE_ERROR) return answer;
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &answer.status);
  curl_off_t wait = 0;
  if (curl_easy_getinfo(handle_, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0) {
    answer.retry_after = static_cast<double>(wait);
  }
  return answer;
}

HttpAnswer HttpClient::post(const std::string& url, const Headers& headers, const std::string& body) {
  std::string received;
  begin(url, headers);
  curl_easy_setopt(handle_, CURLOPT_POST, 1L);
  curl_easy_setopt(handle_, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &received);
  HttpAnswer answer = perform();
  if (answer.status != 0) answer.body = std::move(received);
  return answer;
}

HttpAnswer HttpClient::get(const std::string& url, const Headers& headers) {
  std::string received;
  begin(url, headers);
  curl_easy_setopt(handle_, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle_, CURLOPT_MAXREDIRS, kMostRedirects);
  curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &received);
  HttpAnswer answer = perform();
  if (answer.status != 0) answer.body = std::move(received);
  return answer;
}

HttpAnswer HttpClient::download(const std::string& url, const Headers& headers, const std::filesystem::path& path,
                                const std::function<void(std::uint64_t)>& on_bytes) {
  std::error_code absent;
  const auto there = std::filesystem::file_size(path, absent);
  const std::uint64_t from = absent ? 0 : there;
  HttpAnswer answer;
  {
    Growing growing{std::ofstream(path, std::ios::binary | std::ios::app), from, on_bytes};
    if (!growing.file) {
      answer.problem = fmt::format("{} cannot be written", path.string());
      return answer;
    }
    begin(url, headers);
    curl_easy_setopt(handle_, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(handle_, CURLOPT_MAXREDIRS, kMostRedirects);
    curl_easy_setopt(handle_, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(handle_, CURLOPT_TIMEOUT_MS, 0L);
    curl_easy_setopt(handle_, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle_, CURLOPT_LOW_SPEED_TIME, kSilence);
    curl_easy_setopt(handle_, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(from));
    curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &growing);
    answer = perform();
    growing.file.close();
    if (!growing.file && answer.problem.empty()) answer.problem = fmt::format("{} cannot be written", path.string());
  }
  const bool no_parts =
      from > 0 && answer.status != 0 && !answer.problem.empty() && (answer.status == 200 || answer.status == 416);
  if (!no_parts) return answer;
  std::filesystem::remove(path, absent);
  return download(url, headers, path, on_bytes);
}

}  // namespace attune
