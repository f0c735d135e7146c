# A formula for Homebrew, made ready by "make formula URL=..." (see conf/package/README.md).
class Predixy < Formula
  desc "Proxy for Redis Cluster, Sentinel groups and plain Redis servers"
  homepage "@SITE@"
  url "@URL@"
  sha256 "@SHA256@"
  license "BSD-3-Clause"

  depends_on "rust" => :build

  def install
    system "cargo", "build", "--release", "--locked", "--offline"
    ENV["BINARY"] = "target/release/predixy"
    ENV["PREFIX"] = prefix
    ENV["SYSCONFDIR"] = etc
    system "sh", "ci/install.sh", "install"
  end

  service do
    run [opt_bin/"predixy", etc/"predixy/predixy.conf"]
    keep_alive successful_exit: false
    log_path var/"log/predixy.log"
    error_log_path var/"log/predixy.log"
  end

  test do
    (testpath/"predixy.conf").write <<~CONF
      Bind #{testpath}/socket
      ClusterServerPool {
          Servers {
              + 127.0.0.1:6379
          }
      }
    CONF
    assert_match(/^ok$/, shell_output("#{bin}/predixy -t #{testpath}/predixy.conf"))
  end
end
