#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
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

/// Speaks HTTP and HTTPS; keeps its connection between calls. Bodies end at 8 MB, files do not. Never throws for what
/// the network or the server does. Not thread-safe.
class HttpClient {
 public:
  using Headers = std::vector<std::string>;  // as "Name: value"

  /// `timeout` in seconds, of a whole exchange; a download may take longer while bytes arrive.
  explicit HttpClient(double timeout);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  /// Redirects are not followed, so that a key goes to no other server.
  HttpAnswer post(const std::string& url, const Headers& headers, const std::string& body);
  /// Redirects are followed; an "Authorization" among the headers goes to the first server only.
  HttpAnswer get(const std::string& url, const Headers& headers);
  /// Appends what `path` lacks of the file at `url`, and begins anew where the server gives no parts of files. What
  /// came before a failure stays, so that the next call goes on there. `on_bytes` is told the bytes of `path`.
  HttpAnswer download(const std::string& url, const Headers& headers, const std::filesystem::path& path,
                      const std::function<void(std::uint64_t)>& on_bytes = {});

 private:
  HttpAnswer perform();
  void begin(const std::string& url, const Headers& headers);

  void* handle_;
  void* headers_ = nullptr;
  double timeout_;
};

}  // namespace attune
