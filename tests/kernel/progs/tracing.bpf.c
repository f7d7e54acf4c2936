// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* One program per hook that the host's kernel may lack; each counts its calls under its own number. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

/* The LSM program refuses this process to open files, and nobody else. */
const volatile __u32 refused_pid;

static __always_inline void count(__u32 slot)
{
	__u64 *number = bpf_map_lookup_elem(&calls, &slot);

	if (number)
		__sync_fetch_and_add(number, 1);
}

SEC("kprobe/do_sys_openat2")
int on_kprobe(struct pt_regs *ctx)
{
	count(0);
	return 0;
}

SEC("kretprobe/do_sys_openat2")
int on_kretprobe(struct pt_regs *ctx)
{
	count(1);
	return 0;
}

SEC("fentry/do_sys_openat2")
int BPF_PROG(on_fentry)
{
	count(2);
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(on_lsm, struct file *file)
{
	if (!refused_pid || (bpf_get_current_pid_tgid() >> 32) != refused_pid)
		return 0;
	count(3);
	return -13;
}

char LICENSE[] SEC("license") = "GPL";
