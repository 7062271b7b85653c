// conformance_cuda: every word on the GPU. Prints golden data, and on the error stream what differs
// from host computations; ends with 1 when something does, with 2 when there is no GPU.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "tests/conformance/conformance.h"

namespace mettle::conformance {
namespace {

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

class CudaDevice : public Device {
 public:
  CudaDevice() = default;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  ~CudaDevice() override {
    for (void* memory : memory_) cudaFree(memory);
  }
  Stream stream() override { return {mettle::Device::cuda(0), nullptr}; }
  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes));
    memory_.push_back(memory);
    // All NaN, as in the emulation.
    check(cudaMemset(memory, 0xff, bytes));
    return memory;
  }
  void upload(void* to, const void* from, std::size_t bytes) override {
    check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
  }

 private:
  std::vector<void*> memory_;
};

int run_all() {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
    std::cerr << "no GPU\n";
    return 2;
  }
  std::cout << "# " << properties.name << ", compute capability " << properties.major << '.'
            << properties.minor << '\n';
  int wrong = 0;
  for (const Word& word : words()) {
    CudaDevice device;
    const Bits found = word.run(device, word.number);
    write(std::cout, record_of(word, found));
    const std::string what = difference(word, found, word.expect(word.number));
    if (what.empty()) continue;
    std::cerr << word.name << ": " << what << '\n';
    ++wrong;
  }
  std::cerr << wrong << " words differ from host computations\n";
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace mettle::conformance

int main() {
  try {
    return mettle::conformance::run_all();
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
