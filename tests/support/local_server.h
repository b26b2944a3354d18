#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace attune {

/// An HTTP server on a free local port, which answers request after request with what `answer` makes of its whole text.
class LocalServer {
 public:
  using Answer = std::function<std::string(const std::string& request, std::size_t number)>;

  explicit LocalServer(Answer answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 16);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~LocalServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  std::string root() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return root() + "/v1"; }
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  /// An answer with a status line such as "200 OK".
  static std::string with(const std::string& status, const std::string& body, const std::string& headers = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n" +
           headers + "\r\n" + body;
  }

 private:
  void serve() {
    for (;;) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      const std::string request = read_request(peer);
      std::size_t number = 0;
      {
        const std::lock_guard lock(mutex_);
        number = requests_.size();
        requests_.push_back(request);
      }
      const std::string answer = answer_(request, number);
      for (std::size_t sent = 0; sent < answer.size();) {
        const ssize_t now = ::send(peer, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        if (now <= 0) break;
        sent += static_cast<std::size_t>(now);
      }
      ::close(peer);
    }
  }

  static std::string read_request(int peer) {
    std::string text;
    char piece[4096];
    for (;;) {
      const ssize_t got = ::recv(peer, piece, sizeof piece, 0);
      if (got <= 0) return text;
      text.append(piece, static_cast<std::size_t>(got));
      const std::size_t head = text.find("\r\n\r\n"), length = text.find("Content-Length: ");
      if (head == std::string::npos) continue;
      if (text.starts_with("GET ")) return text;
      if (length == std::string::npos) continue;
      if (text.size() >= head + 4 + std::stoul(text.substr(length + 16))) return text;
    }
  }

  Answer answer_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace attune
