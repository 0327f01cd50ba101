/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Removes flows that are idle, closed or orphaned, and mappings without flows; counts what lives in each block. Run by
 * the agent; a walk inside the kernel costs a tenth of one through system calls. */
#pragma once
#include "flow.h"

/* Idle seconds after which a flow ends: RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2. */
static __always_inline __u32 lifetime(const struct flow_key *key, __u8 sent, __u8 received, const struct timers *timers)
{
	switch (key->protocol) {
	case IPPROTO_TCP:
		if (closed(sent, received))
			return timers->tcp_closed;
		return (received & TCP_SYN) && (sent & TCP_ACK) ? timers->tcp_established : timers->tcp_transitory;
	case IPPROTO_UDP:
		return timers->udp;
	}
	return timers->icmp;
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

static __always_inline void leave_mapping(const struct flow_key *key, const struct flow *flow)
{
	struct mapping_key mapping_key;
	struct mapping *mapping;

	if (key->protocol == IPPROTO_TCP)
		return;
	mapping_key_of(key, &flow->egress, &mapping_key);
	mapping = bpf_map_lookup_elem(&mappings, &mapping_key);
	if (mapping && mapping->flows)
		__sync_fetch_and_add(&mapping->flows, -1);
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
		/* the pod speaks on after a RST of the other end: RFC 7857 section 2.2 */
		if ((back->flags & TCP_RST) && (__s32)(seen - back->seen) > 0)
			back->flags &= ~TCP_RST;
		received = back->flags;
		if ((__s32)(back->seen - seen) > 0)
			seen = back->seen;
	}
	if (back && pod && pod->rules && egress_entry) {
		/* a packet may have been seen after this clock was read */
		if ((__s32)(now - seen) <= (__s32)lifetime(key, flow->flags, received, &egress_entry->timers)) {
			use_block(flow, egress_entry->shift);
			sweep->kept++;
			return 0;
		}
		sweep->expired++;
	} else {
		sweep->orphaned++;
	}
	leave_mapping(key, flow);
	bpf_map_delete_elem(&returns, &back_key);
	bpf_map_delete_elem(&flows, key);
	return 0;
}

/* A mapping goes with the second sweep that finds no flow in it: a new one may just be opening. */
static long sweep_mapping(void *map, struct mapping_key *key, struct mapping *mapping, struct sweep *sweep)
{
	struct owner_key owner = { .egress = key->egress, .egress_port = mapping->egress_port, .protocol = key->protocol };

	if (mapping->flows) {
		mapping->idle = 0;
	} else if (!mapping->idle) {
		mapping->idle = 1;
	} else {
		bpf_map_delete_elem(&mappings, key);
		bpf_map_delete_elem(&owners, &owner);
	}
	return 0;
}

static __always_inline void sweep_all(void)
{
	__u32 zero = 0;
	struct sweep *state = bpf_map_lookup_elem(&sweep_state, &zero), sweep = {};

	if (!state)
		return;
	bpf_for_each_map_elem(&flows, sweep_flow, &sweep, 0);
	bpf_for_each_map_elem(&mappings, sweep_mapping, &sweep, 0);
	*state = sweep;
}
