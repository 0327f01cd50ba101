/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Records for people: which flow began and ended when, and what was refused. Only who opens or ends a flow pays for one,
 * nobody waits for its reader, and none is made on the stack. */
#pragma once
#include "packet.h"
#include "verdict.h"

#define SECOND 1000000000ULL
#define REFUSED_AGAIN 10	/* seconds until the same is told again */
#define REFUSALS_PER_SECOND 128	/* of one processor: a scan must not fill the buffer */

static __always_inline __u32 now_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / SECOND;
}

static __always_inline void count_untold(__u32 kind)
{
	__u64 *count = bpf_map_lookup_elem(&untold, &kind);

	if (count)
		(*count)++;
}

static __always_inline bool is_told(void)
{
	const struct settings *settings = node_settings();

	return settings && settings->tell_flows;
}


__noinline int tell_flow(const struct flow_key *key, const struct addr *egress_address, __u32 port_and_event, __u32 link, __u64 times)
{
	struct flow_record *record;

	if (!key || !egress_address || !is_told())
		return 0;
	record = bpf_ringbuf_reserve(&flow_events, sizeof(*record), 0);
	if (!record) {
		count_untold(UNTOLD_FLOWS);
		return 0;
	}
	record->at = bpf_ktime_get_coarse_ns();
	record->key = *key;
	record->egress = *egress_address;
	record->egress_port = port_and_event >> 8;
	record->event = port_and_event;
	record->reason = 0;
	record->link = link;
	record->opened = times >> 32;
	record->seen = times;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void tell_opened(const struct flow_key *key, const struct addr *egress_address, __be16 port, __u32 link)
{
	__u64 now = now_seconds();

	tell_flow(key, egress_address, (__u32)port << 8 | FLOW_OPENED, link, now << 32 | now);
}

/* `back` is NULL if the way back is gone already. */
static __always_inline void tell_ended(const struct flow_key *key, const struct flow *flow, const struct return_flow *back,
				       enum flow_event why)
{
	__u32 seen = flow->seen;

	if (back && (__s32)(back->seen - seen) > 0)
		seen = back->seen;
	tell_flow(key, &flow->egress, (__u32)flow->egress_port << 8 | why, flow->link, (__u64)(back ? back->opened : 0) << 32 | seen);
}

static __always_inline bool may_tell_refusal(__u32 now)
{
	__u32 zero = 0;
	struct budget *budget = bpf_map_lookup_elem(&refusal_budget, &zero);

	if (!budget)
		return false;
	if (budget->second != now) {
		budget->second = now;
		budget->spent = 0;
	}
	return budget->spent++ < REFUSALS_PER_SECOND;
}

/* How many packets were refused like this since it was last told; 0: it was told a moment ago, or too much was. */
static __always_inline __u32 refused_alike(const struct refusal_key *key)
{
	struct refusal fresh = { .packets = 1 }, *found = bpf_map_lookup_elem(&refusals, key);
	__u32 now = now_seconds(), packets;

	if (!found) {
		bpf_map_update_elem(&refusals, key, &fresh, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&refusals, key);
		if (!found)
			return 0;
	} else {
		__sync_fetch_and_add(&found->packets, 1);
	}
	packets = found->packets;
	if (found->told && now - found->told < REFUSED_AGAIN)
		return 0;
	if (!may_tell_refusal(now)) {
		count_untold(UNTOLD_REFUSALS);
		return 0;
	}
	found->told = now;
	found->packets = 0;
	return packets;
}

/* A pod's packet was refused. Not static: the kernel verifies it once. */
__noinline int tell_refused(const struct packet *p, __u32 link, __u32 reason)
{
	struct refusal_key key = {};
	struct flow_record *record;
	__u32 packets;

	if (!p || !is_told())
		return 0;
	key.pod = p->src;
	key.remote = p->dst;
	key.remote_port = p->dport;
	key.protocol = p->protocol;
	key.reason = reason;
	key.link = link;
	packets = refused_alike(&key);
	if (!packets)
		return 0;
	record = bpf_ringbuf_reserve(&flow_events, sizeof(*record), 0);
	if (!record) {
		count_untold(UNTOLD_REFUSALS);
		return 0;
	}
	record->at = bpf_ktime_get_coarse_ns();
	record->key.pod = p->src;
	record->key.remote = p->dst;
	record->key.pod_port = p->sport;
	record->key.remote_port = p->dport;
	record->key.protocol = p->protocol;
	memset(record->key.pad, 0, sizeof(record->key.pad));
	memset(&record->egress, 0, sizeof(record->egress));
	record->egress_port = 0;
	record->event = FLOW_REFUSED;
	record->reason = reason;
	record->link = link;
	record->opened = 0;
	record->seen = packets;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
