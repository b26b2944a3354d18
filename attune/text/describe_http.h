#pragma once

#include <string>
#include <vector>

namespace attune {

/// What a server answered, or why none did.
struct HttpAnswer {
  long status = 0;  // 0: no answer, `problem` says why
  std::string body;
  double retry_after = -1;  // seconds that the server asked to wait; negative: it did not
  std::string problem;
};

/// Posts over HTTP or HTTPS; keeps its connection between calls. Redirects are not followed, so that a key goes to no
/// other server; bodies end at 8 MB. Not thread-safe.
class HttpClient {
 public:
  /// `timeout` in seconds, of a whole exchange.
  explicit HttpClient(double timeout);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  /// `headers` as "Name: value". Never throws for what the network or the server does.
  HttpAnswer post(const std::string& url, const std::vector<std::string>& headers, const std::string& body);

 private:
  void* handle_;
  double timeout_;
};

}  // namespace attune
