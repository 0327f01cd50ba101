/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Removes flows that are idle, closed or orphaned, and mappings without flows. Run by the agent, on those that it
 * suspects: what it read a moment ago is judged here once more. */
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

static __always_inline void sweep_flow(const struct flow_key *key, struct sweep *sweep)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, key);
	const struct egress *egress_entry;
	struct return_key back_key;
	struct return_flow *back;
	const struct pod *pod;
	__u32 seen, now = now_seconds();
	enum flow_event why = FLOW_ORPHANED;
	__u8 received = 0;

	if (!flow)
		return;
	egress_entry = bpf_map_lookup_elem(&egress, &flow->egress);
	pod = bpf_map_lookup_elem(&pods, &key->pod);
	seen = flow->seen;
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
	if (back && pod && pod->rules && pod->link == flow->link && egress_entry) {
		/* a packet may have been seen after this clock was read */
		if ((__s32)(now - seen) <= (__s32)lifetime(key, flow->flags, received, &egress_entry->timers))
			return;
		why = key->protocol == IPPROTO_TCP && closed(flow->flags, received) ? FLOW_CLOSED : FLOW_EXPIRED;
		sweep->expired++;
	} else {
		sweep->orphaned++;
	}
	end_flow(key, flow, why);
}

/* A mapping goes with the second sweep that finds no flow in it: a new one may just be opening. */
static __always_inline void sweep_mapping(const struct mapping_key *key)
{
	struct mapping *mapping = bpf_map_lookup_elem(&mappings, key);
	struct owner_key owner = { .egress = key->egress, .protocol = key->protocol };

	if (!mapping || mapping->flows)
		return;
	if (!mapping->idle) {
		mapping->idle = 1;
		return;
	}
	owner.egress_port = mapping->egress_port;
	bpf_map_delete_elem(&mappings, key);
	bpf_map_delete_elem(&owners, &owner);
}

static long sweep_next(__u32 i, struct sweep *sweep)
{
	struct suspect *suspect = bpf_map_lookup_elem(&suspects, &i);

	if (!suspect)
		return 1;
	if (sweep->mappings)
		sweep_mapping(&suspect->mapping);
	else
		sweep_flow(&suspect->flow, sweep);
	return 0;
}

static __always_inline void sweep_suspects(void)
{
	__u32 zero = 0;
	struct sweep *state = bpf_map_lookup_elem(&sweep_state, &zero), sweep;

	if (!state)
		return;
	sweep = *state;
	sweep.expired = 0;
	sweep.orphaned = 0;
	bpf_loop(sweep.count, sweep_next, &sweep, 0);
	*state = sweep;
}
