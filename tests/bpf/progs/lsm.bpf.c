/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Hangs on an LSM hook and permits everything. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct file;
__u64 runs;

SEC("lsm/file_open")
int BPF_PROG(on_file_open, struct file *file, int before)
{
	runs++;
	return before;
}

char _license[] SEC("license") = "GPL";
