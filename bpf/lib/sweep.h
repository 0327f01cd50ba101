/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Removes flows that are idle, closed or orphaned, and counts what lives in each block. Run by the agent; a walk
 * inside the kernel costs a tenth of one through system calls. */
#pragma once
#include "flow.h"

/* Idle seconds after which a flow ends: RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2. */
static __always_inline __u32 lifetime(const struct flow_key *key, __u8 sent, __u8 received, const struct sweep *sweep)
{
	switch (key->protocol) {
	case IPPROTO_TCP:
		if (closed(sent, received))
			return sweep->tcp_closed;
		return (received & TCP_SYN) && (sent & TCP_ACK) ? sweep->tcp_established : sweep->tcp_transitory;
	case IPPROTO_UDP:
		return sweep->udp;
	}
	return sweep->icmp;
}

static __always_inline void use_block(const struct flow *flow, __u8 shift)
{
	struct lease_key key = { .egress = flow->egress, .block = bpf_ntohs(flow->egress_port) >> (shift & 15) };
	__u32 *count = bpf_map_lookup_elem(&block_use, &key), one = 1;

	if (count)
		++*count;
	else
		bpf_map_update_elem(&block_use, &key, &one, BPF_ANY);
}

static long sweep_flow(void *map, struct flow_key *key, struct flow *flow, struct sweep *sweep)
{
	const struct egress *egress_entry = bpf_map_lookup_elem(&egress, &flow->egress);
	const struct pod *pod = bpf_map_lookup_elem(&pods, &key->pod);
	struct return_key back_key;
	struct return_flow *back;
	__u32 seen = flow->seen, now = now_seconds();
	__u8 received = 0;

	return_key_of(key, &flow->egress, flow->egress_port, &back_key);
	back = bpf_map_lookup_elem(&returns, &back_key);
	if (back) {
		received = back->flags;
		if (back->seen > seen)
			seen = back->seen;
	}
	if (back && pod && pod->rules && egress_entry) {
		/* a packet may have been seen after this clock was read */
		if (now <= seen || now - seen <= lifetime(key, flow->flags, received, sweep)) {
			use_block(flow, egress_entry->shift);
			sweep->kept++;
			return 0;
		}
		sweep->expired++;
	} else {
		sweep->orphaned++;
	}
	bpf_map_delete_elem(&returns, &back_key);
	bpf_map_delete_elem(&flows, key);
	return 0;
}

static __always_inline void sweep_all(void)
{
	__u32 zero = 0;
	struct sweep *state = bpf_map_lookup_elem(&sweep_state, &zero), sweep;

	if (!state)
		return;
	sweep = *state;
	sweep.kept = 0;
	sweep.expired = 0;
	sweep.orphaned = 0;
	bpf_for_each_map_elem(&flows, sweep_flow, &sweep, 0);
	*state = sweep;
}
