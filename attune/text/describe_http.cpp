#include "attune/text/describe_http.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <mutex>

#include <curl/curl.h>

#include "attune/base/error.h"
#include "attune/base/log.h"

namespace attune {
namespace {

constexpr std::size_t kMostBytes = std::size_t{8} << 20;
constexpr double kConnectTimeout = 20;  // seconds

std::size_t collect(char* data, std::size_t size, std::size_t count, void* user) {
  auto& body = *static_cast<std::string*>(user);
  if (body.size() + size * count > kMostBytes) return 0;
  body.append(data, size * count);
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

}  // namespace

HttpClient::HttpClient(double timeout) : timeout_(timeout) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  handle_ = curl_easy_init();
  if (handle_ == nullptr) throw Error("http: expected a connection handle from libcurl, found none");
}

HttpClient::~HttpClient() {
  curl_easy_cleanup(handle_);
}

HttpAnswer HttpClient::post(const std::string& url, const std::vector<std::string>& headers, const std::string& body) {
  HttpAnswer answer;
  std::array<char, CURL_ERROR_SIZE> reason{};
  curl_slist* list = nullptr;
  for (const std::string& header : headers) list = curl_slist_append(list, header.c_str());
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> kept(list, curl_slist_free_all);

  curl_easy_reset(handle_);
  curl_easy_setopt(handle_, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(handle_, CURLOPT_POST, 1L);
  curl_easy_setopt(handle_, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(handle_, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle_, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle_, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ * 1000));
  curl_easy_setopt(handle_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout * 1000));
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, reason.data());
  if (is_local(url)) curl_easy_setopt(handle_, CURLOPT_NOPROXY, "*");

  const CURLcode code = curl_easy_perform(handle_);
  if (code != CURLE_OK) {
    answer.problem = reason[0] != '\0' ? reason.data() : curl_easy_strerror(code);
    answer.body.clear();
    return answer;
  }
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &answer.status);
  curl_off_t wait = 0;
  if (curl_easy_getinfo(handle_, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0) {
    answer.retry_after = static_cast<double>(wait);
  }
  return answer;
}

}  // namespace attune
