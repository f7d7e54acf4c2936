/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What BTF does not carry: macros and inline functions that programs for bcc commonly use. Types come from vmlinux.h.
 * Add a line when a program needs one more; values are those of the kernel's own headers and have not changed since 6.1.
 */
#ifndef GLASSHIVE_KERNEL_MACROS_H
#define GLASSHIVE_KERNEL_MACROS_H

/* compiler.h, kernel.h, stddef.h */
#ifndef NULL
#define NULL ((void *)0)
#endif
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() __asm__ __volatile__("" ::: "memory")
#define READ_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, val) (*(volatile __typeof__(x) *)&(x) = (val))
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#define container_of(ptr, type, member) ((type *)((void *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define __user
#define __kernel
#define __force
#define __rcu
#define __percpu
#define __iomem
#define __read_mostly
#define __bitwise
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __packed
#define __packed __attribute__((packed))
#endif
#define __aligned(x) __attribute__((aligned(x)))
#define notrace
#define EXPORT_SYMBOL_GPL(x)

/* version.h: LINUX_VERSION_CODE stands in kconfig.h, which knows the kernel */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))

/* log2.h */
#define ilog2(n) (63 - __builtin_clzll((unsigned long long)(n)))
#define roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzll((unsigned long long)(n)-1)))

/* page.h, mm.h */
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define THREAD_SHIFT 14
#define THREAD_SIZE (1UL << THREAD_SHIFT)

/* sched.h, kdev_t.h, fs.h, dcache.h */
#define TASK_COMM_LEN 16
#define TASK_RUNNING 0
#define TASK_INTERRUPTIBLE 1
#define TASK_UNINTERRUPTIBLE 2
#define PF_KTHREAD 0x00200000
#define MINORBITS 20
#define MINORMASK ((1U << MINORBITS) - 1)
#define MAJOR(dev) ((unsigned int)((dev) >> MINORBITS))
#define MINOR(dev) ((unsigned int)((dev)&MINORMASK))
#define MKDEV(ma, mi) (((ma) << MINORBITS) | (mi))
#define DNAME_INLINE_LEN 40
#define DISK_NAME_LEN 32
#define NAME_MAX 255
#define PATH_MAX 4096
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_ISREG(m) (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m) (((m)&S_IFMT) == S_IFDIR)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)
#define O_CREAT 00000100
#define O_TRUNC 00001000
#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define MAX_ERRNO 4095
#define IS_ERR_VALUE(x) unlikely((unsigned long)(void *)(x) >= (unsigned long)-MAX_ERRNO)

/* errno.h */
#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EAGAIN 11
#define EACCES 13
#define EINVAL 22
#define ECONNREFUSED 111
#define EINPROGRESS 115

/* blk_types.h */
#define REQ_OP_BITS 8
#define REQ_OP_MASK ((1 << REQ_OP_BITS) - 1)

/* socket.h, in.h, in6.h */
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define PF_INET AF_INET
#define PF_INET6 AF_INET6
#define SOL_SOCKET 1
#define INADDR_ANY 0x00000000
#define INADDR_LOOPBACK 0x7f000001

/* if_ether.h, if.h, if_packet.h */
#define IFNAMSIZ 16
#define ETH_ALEN 6
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_P_IPV6 0x86DD
#define ETH_P_ALL 0x0003
#define PACKET_HOST 0
#define PACKET_OUTGOING 4

/* pkt_cls.h */
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_OK 0
#define TC_ACT_RECLASSIFY 1
#define TC_ACT_SHOT 2
#define TC_ACT_PIPE 3
#define TC_ACT_STOLEN 4
#define TC_ACT_REDIRECT 7

/* ip.h, tcp.h */
#define IP_MF 0x2000
#define IP_OFFSET 0x1FFF

/* byteorder.h */
#ifndef htons
#define htons(x) ((__be16)__builtin_bswap16((__u16)(x)))
#define ntohs(x) ((__u16)__builtin_bswap16((__u16)(x)))
#define htonl(x) ((__be32)__builtin_bswap32((__u32)(x)))
#define ntohl(x) ((__u32)__builtin_bswap32((__u32)(x)))
#define cpu_to_be16(x) htons(x)
#define cpu_to_be32(x) htonl(x)
#define cpu_to_be64(x) ((__be64)__builtin_bswap64((__u64)(x)))
#define be16_to_cpu(x) ntohs(x)
#define be32_to_cpu(x) ntohl(x)
#define be64_to_cpu(x) ((__u64)__builtin_bswap64((__u64)(x)))
#endif

/* inet_sock.h, sock.h: names of fields that are macros in the kernel */
#define inet_daddr sk.__sk_common.skc_daddr
#define inet_rcv_saddr sk.__sk_common.skc_rcv_saddr
#define inet_dport sk.__sk_common.skc_dport
#define inet_num sk.__sk_common.skc_num
#define sk_node __sk_common.skc_node
#define sk_family __sk_common.skc_family
#define sk_state __sk_common.skc_state
#define sk_net __sk_common.skc_net
#define sk_num __sk_common.skc_num
#define sk_dport __sk_common.skc_dport
#define sk_daddr __sk_common.skc_daddr
#define sk_rcv_saddr __sk_common.skc_rcv_saddr
#define sk_v6_daddr __sk_common.skc_v6_daddr
#define sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
#define s6_addr in6_u.u6_addr8
#define s6_addr16 in6_u.u6_addr16
#define s6_addr32 in6_u.u6_addr32

/* bpf.h: flags that are macros there */
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2

#endif
