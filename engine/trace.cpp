// The recorder behind all ranges: a file of Chrome trace events, and NVTX by the CUDA driver.
#include "engine/trace.h"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/log.h"
#include "engine/thread_number.h"
#include "engine/trace_device.h"

namespace mettle {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t flush_bytes = std::size_t{1} << 16;
constexpr int host_process = 1;  // rows of threads; devices follow

/// A trace that is being written. Its caller holds the recorder's lock.
class TraceFile {
 public:
  explicit TraceFile(const std::filesystem::path& path)
      : name_(path.native()),
        file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    METTLE_CHECK(FileError, file_.get() >= 0, "{}: cannot be written: {}", name_,
                 std::generic_category().message(errno));
    put("[");
    name_row("process_name", host_process, 0, "host");
  }

  double now() const {
    return std::chrono::duration<double, std::micro>(Clock::now() - start_).count();
  }
  DeviceRanges& device(Device device) {
    auto& ranges = devices_[device.index];
    if (!ranges) {
      ranges = std::make_unique<DeviceRanges>(cuda_device(device), [this] { return now(); });
      name_row("process_name", process_of(device), 0, to_string(device));
    }
    return *ranges;
  }

  void host_range(const char* name, const char* category, const std::string& detail, double begin) {
    const int row = static_cast<int>(thread_number());
    if (threads_.insert(row).second)
      name_row("thread_name", host_process, row, fmt::format("thread {}", row));
    range(name, category, detail, host_process, row, begin, now() - begin);
  }
  void device_range(DeviceRanges::Range range) {
    DeviceRanges& ranges = device(range.stream.device);
    ranges.add(std::move(range), emit());
  }
  /// Throws FileError and what went wrong on a device; the file is complete but for that.
  void finish() {
    for (auto& [index, ranges] : devices_) ranges->finish(emit());
    text_ += "\n]\n";
    flush();
  }

 private:
  static int process_of(Device device) { return host_process + 1 + device.index; }

  DeviceRanges::Emit emit() {
    return [this](const DeviceRanges::Range& r, double begin, double length) {
      range(r.name, r.category, r.detail, process_of(r.stream.device), row_of(r.stream), begin,
            length);
    };
  }
  int row_of(const Stream& stream) {
    const auto [at, fresh] = streams_.try_emplace(stream.handle, static_cast<int>(streams_.size()));
    if (fresh) {
      const CudaDevice& d = cuda_device(stream.device);
      name_row("thread_name", process_of(stream.device), at->second,
               stream.handle == d.compute().handle         ? "compute"
               : stream.handle == d.communication().handle ? "communication"
                                                           : fmt::format("stream {}", at->second));
    }
    return at->second;
  }

  void range(const char* name, const char* category, const std::string& detail, int process,
             int row, double begin, double length) {
    Json event{{"name", name}, {"cat", category}, {"ph", "X"},    {"pid", process},
               {"tid", row},   {"ts", begin},     {"dur", length}};
    if (!detail.empty()) event["args"] = {{"detail", detail}};
    add(event);
  }
  void name_row(const char* what, int process, int row, const std::string& name) {
    add({{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", row}, {"args", {{"name", name}}}});
  }
  void add(const Json& event) {
    put(fmt::format("{}\n{}", first_ ? "" : ",",
                    event.dump(-1, ' ', false, Json::error_handler_t::replace)));
    first_ = false;
  }
  void put(std::string_view text) {
    text_ += text;
    if (text_.size() >= flush_bytes) flush();
  }
  void flush() {
    const std::string text = std::exchange(text_, {});
    file_.write(std::as_bytes(std::span(text)), name_);
  }

  std::string name_;
  FileDescriptor file_;
  const Clock::time_point start_ = Clock::now();
  std::string text_;  // not yet in the file
  bool first_ = true;
  std::set<int> threads_;
  std::map<void*, int> streams_;
  std::map<int, std::unique_ptr<DeviceRanges>> devices_;
};

struct Recorder {
  std::mutex mutex;
  std::optional<TraceFile> file;
  std::uint64_t trace = 0;  // number of the file: a range belongs to the one in which it began
  std::atomic<bool> nvtx{false};

  void update() { detail::tracing = nvtx || file.has_value(); }
  void give_up(const Error& error) noexcept {
    log_warning("the trace ends here: {}", error.message());
    file.reset();
    update();
  }
};

// Never destroyed: ranges may end while the process does.
Recorder& recorder() {
  static auto* const r = new Recorder;
  return *r;
}

bool is_set(const char* variable) {
  const char* text = std::getenv(variable);
  return text && *text && std::string_view(text) != "0";
}

}  // namespace

Trace::Trace(const std::filesystem::path& path) {
  cuda_driver();  // before, so that a trace in a static object ends before the driver's library
  Recorder& r = recorder();
  const std::lock_guard lock(r.mutex);
  METTLE_CHECK(ValueError, !r.file, "{}: another trace is being written", path.native());
  r.file.emplace(path);
  ++r.trace;
  r.update();
}

Trace::~Trace() {
  Recorder& r = recorder();
  const std::lock_guard lock(r.mutex);
  if (!r.file) return;  // it was given up
  try {
    r.file->finish();
  } catch (const Error& error) {
    log_warning("the trace is not complete: {}", error.message());
  }
  r.file.reset();
  r.update();
}

void Trace::start_from_environment() {
  Recorder& r = recorder();
  {
    const std::lock_guard lock(r.mutex);
    r.nvtx = is_set("METTLE_NVTX");
    r.update();
  }
  if (!is_set("METTLE_TRACE")) return;
  static const Trace trace(std::getenv("METTLE_TRACE"));
}

struct TraceRange::Open {
  const char* name = nullptr;
  const char* category = nullptr;
  std::string detail;
  std::uint64_t trace = 0;
  double begin = 0;
  Stream stream;
  void* event = nullptr;  // on the stream, at the beginning; null: no time of a device is taken
  bool nvtx = false;
};

void TraceRange::begin(const char* name, const char* category, std::string detail,
                       const Stream& stream) {
  auto open = std::make_unique<Open>();
  open->name = name;
  open->category = category;
  open->detail = std::move(detail);
  Recorder& r = recorder();
  open->nvtx = r.nvtx;
  if (open->nvtx) cuda_driver().push_range(name);
  const std::lock_guard lock(r.mutex);
  if (r.file) try {
      open->trace = r.trace;
      open->begin = r.file->now();
      open->stream = stream;
      if (stream.device.type == DeviceType::cuda &&
          !cuda_device(stream.device).driver().is_capturing(stream))
        open->event = r.file->device(stream.device).mark(stream);
    } catch (const Error& error) {
      r.give_up(error);
    }
  open_ = open.release();
}

void TraceRange::end() noexcept {
  const std::unique_ptr<Open> open(open_);
  if (open->nvtx) cuda_driver().pop_range();
  try {
    finish(*open);
  } catch (...) {  // the range is lost; NOLINT(bugprone-empty-catch)
  }
}

void TraceRange::finish(const Open& open) {
  Recorder& r = recorder();
  const std::lock_guard lock(r.mutex);
  if (!r.file || open.trace != r.trace) {  // the trace is over: nobody asks for the event
    if (open.event) cuda_device(open.stream.device).driver().destroy_event(open.event);
    return;
  }
  try {
    r.file->host_range(open.name, open.category, open.detail, open.begin);
    if (!open.event) return;
    void* const to = r.file->device(open.stream.device).mark(open.stream);
    r.file->device_range({open.name, open.category, open.detail, open.stream, open.event, to});
  } catch (const Error& error) {
    r.give_up(error);
  }
}

}  // namespace mettle
