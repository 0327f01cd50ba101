/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Every map, pinned by its name. Sizes of the big ones are set at load time from the agent's flags. */
#pragma once
#include "types.h"
#include "reason.h"

#define PINNED __uint(pinning, LIBBPF_PIN_BY_NAME)

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct settings); PINNED; } settings SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, REASONS); __type(key, __u32); __type(value, struct counter); PINNED; } counters SEC(".maps");

/* the plan, on the pod's node */
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct network); __type(value, __u32); PINNED; } inside SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct addr); __type(value, struct node); PINNED; } nodes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct addr); __type(value, struct pod); PINNED; } pods SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __uint(max_entries, 262144); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct rule_key); __type(value, struct rule); PINNED; } rules SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct addr); __type(value, struct egress); PINNED; } egress SEC(".maps");

/* the plan, on a gateway */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct addr); __type(value, struct served); PINNED; } served SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1048576); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct lease_key); __type(value, struct addr); PINNED; } leases SEC(".maps");

/* flows, on the pod's node only */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1048576); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct flow_key); __type(value, struct flow); PINNED; } flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1048576); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct return_key); __type(value, struct return_flow); PINNED; } returns SEC(".maps");
/* who outside opened a conversation with a selected pod: a hint, so old entries may go */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 65536); __type(key, struct flow_key); __type(value, __u32); PINNED; } inbound SEC(".maps");

/* how many flows each pod has */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct addr); __type(value, __u32); PINNED; } pod_flows SEC(".maps");
/* a port towards everybody, and who has it */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1048576); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct mapping_key); __type(value, struct mapping); PINNED; } mappings SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1048576); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct owner_key); __type(value, __u32); PINNED; } owners SEC(".maps");
/* datagrams in pieces, on every node that they pass; the oldest go when strangers send too many */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct fragment_key); __type(value, struct fragment); PINNED; } fragments SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct budget); PINNED; } complaints SEC(".maps");
/* on a gateway that is used by its own address: the only thing it remembers, since its kernel has the other ports. A
 * connection that is forgotten is known again by the next packet of its pod */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 131072); __type(key, struct return_key); __type(value, struct carried); PINNED; } carried SEC(".maps");

/* what became of flows: read by the agent, or by nobody for a while; what does not fit is counted and not told */
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); PINNED; } flow_events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, UNTOLD_KINDS); __type(key, __u32); __type(value, __u64); PINNED; } untold SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, struct refusal_key); __type(value, struct refusal); PINNED; } refusals SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct budget); PINNED; } refusal_budget SEC(".maps");

/* the sweep: what it is to judge, and what it found */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct sweep); PINNED; } sweep_state SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SUSPECTS); __type(key, __u32); __type(value, struct suspect); PINNED; } suspects SEC(".maps");
