/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Flows live on the pod's node only. A flow is two entries: `flows` for the way out, `returns` for the way back. UDP
 * and ICMP echo have a mapping besides, which is the same towards every remote end. */
#pragma once
#include "ports.h"
#include "tcp.h"
#include "tell.h"

static __always_inline bool closed(__u8 sent, __u8 received)
{
	return ((sent | received) & TCP_RST) || (sent & received & TCP_FIN);
}

static __always_inline void flow_key_of(const struct packet *p, struct flow_key *key)
{
	memset(key, 0, sizeof(*key));
	key->pod = p->src;
	key->remote = p->dst;
	key->pod_port = p->sport;
	key->remote_port = p->dport;
	key->protocol = p->protocol;
}

/* The flow of a packet that comes back to a pod. */
static __always_inline void flow_key_back(const struct return_key *back, const struct return_flow *value, struct flow_key *key)
{
	memset(key, 0, sizeof(*key));
	key->pod = value->pod;
	key->remote = back->remote;
	key->pod_port = value->pod_port;
	key->remote_port = back->remote_port;
	key->protocol = back->protocol;
}

static __always_inline void return_key_of(const struct flow_key *flow, const struct addr *egress, __be16 port,
					  struct return_key *key)
{
	memset(key, 0, sizeof(*key));
	key->egress = *egress;
	key->remote = flow->remote;
	key->egress_port = port;
	key->remote_port = flow->remote_port;
	key->protocol = flow->protocol;
}

static __always_inline void mapping_key_of(const struct flow_key *flow, const struct addr *egress, struct mapping_key *key)
{
	memset(key, 0, sizeof(*key));
	key->pod = flow->pod;
	key->egress = *egress;
	key->pod_port = flow->pod_port;
	key->protocol = flow->protocol;
}

/* The same five values again after both ends closed: a new connection on the old mapping. */
static __always_inline void reopen(const struct flow_key *key, struct flow *flow)
{
	struct return_key back_key;
	struct return_flow *back;

	return_key_of(key, &flow->egress, flow->egress_port, &back_key);
	back = bpf_map_lookup_elem(&returns, &back_key);
	if (back && closed(flow->flags, back->flags)) {
		tell_ended(key, flow, back, FLOW_CLOSED);
		flow->flags = 0;
		back->flags = 0;
		back->opened = now_seconds();
		tell_opened(key, &flow->egress, flow->egress_port, flow->link);
	}
}

/* The pod opens a connection, or asks again. */
static __noinline void touch_opening(struct __sk_buff *skb, const struct flow_key *key, struct flow *flow, const struct packet *p)
{
	reopen(key, flow);
	if (!(flow->flags & TCP_ACK))
		expect_answer(skb, p, flow);
}

/* Writes only what changed: the entry's cache line is shared by all processors. */
static __always_inline void touch_flow(struct __sk_buff *skb, const struct flow_key *key, struct flow *flow,
				       const struct packet *p)
{
	__u32 now = now_seconds();

	if (p->kind == KIND_TCP) {
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			touch_opening(skb, key, flow, p);
		else
			expect_more(p, flow);
		/* who speaks on after a RST did not mean it: RFC 7857 section 2.2 */
		if ((flow->flags & TCP_RST) && !(p->tcp_flags & TCP_RST))
			flow->flags &= ~TCP_RST;
		if ((flow->flags | p->tcp_flags) != flow->flags)
			flow->flags |= p->tcp_flags;
	}
	if (flow->seen != now)
		flow->seen = now;
}

/* A packet of the remote end. False: a RST that is none. A FIN out of the window is carried, and says nothing. */
static __always_inline bool touch_return(const struct return_key *key, struct return_flow *back, const struct packet *p)
{
	__u32 now = now_seconds();
	__u8 flags = p->tcp_flags;
	struct flow_key flow_key;
	struct flow *flow;

	if (p->kind != KIND_TCP)	/* kept alive by its own pod only: RFC 4787 REQ-6 */
		return true;
	if (flags & (TCP_SYN | TCP_RST | TCP_FIN)) {
		flow_key_back(key, back, &flow_key);
		flow = bpf_map_lookup_elem(&flows, &flow_key);
		if (!flow)
			return false;
		if (flags & TCP_SYN)
			flow->flags |= FLOW_ANSWERED;
		if (flags & (TCP_RST | TCP_FIN)) {
			if (in_window(p, flow))
				flow->flags |= FLOW_CLOSING;
			else if (flags & TCP_RST)
				return false;
			else
				flags &= ~TCP_FIN;
		}
	}
	/* who speaks on after a RST did not send it: RFC 7857 section 2.2 */
	if ((back->flags & TCP_RST) && !(flags & TCP_RST))
		back->flags &= ~TCP_RST;
	if ((back->flags | flags) != back->flags)
		back->flags |= flags;
	if (back->seen != now)
		back->seen = now;
	return true;
}

/* The port that the pod's port has towards everybody; a new one if it has none. */
static __always_inline __s32 map_port(const struct flow_key *key, struct search *search, struct mapping **mapping)
{
	struct mapping fresh = { .flows = 0 };
	struct mapping_key mapping_key;
	__s32 error;

	mapping_key_of(key, &search->key.egress, &mapping_key);
	*mapping = bpf_map_lookup_elem(&mappings, &mapping_key);
	if (!*mapping) {
		error = reserve(search);
		if (error)
			return error;
		fresh.egress_port = bpf_htons(search->port);
		error = bpf_map_update_elem(&mappings, &mapping_key, &fresh, BPF_NOEXIST);
		if (error)	/* another processor was faster, or there is no room */
			bpf_map_delete_elem(&owners, &search->owner);
		*mapping = bpf_map_lookup_elem(&mappings, &mapping_key);
		if (!*mapping)
			return error;
	}
	search->key.egress_port = (*mapping)->egress_port;
	/* nobody else's: another processor may be opening the same flow */
	if (bpf_map_update_elem(&returns, &search->key, &search->back, BPF_NOEXIST))
		return -EAGAIN;
	__sync_fetch_and_add(&(*mapping)->flows, 1);
	(*mapping)->idle = 0;
	return 0;
}

static __always_inline void leave_mapping(const struct flow_key *key, const struct addr *egress)
{
	struct mapping_key mapping_key;
	struct mapping *mapping;

	if (key->protocol == IPPROTO_TCP)
		return;
	mapping_key_of(key, egress, &mapping_key);
	mapping = bpf_map_lookup_elem(&mappings, &mapping_key);
	if (mapping && mapping->flows)
		__sync_fetch_and_add(&mapping->flows, -1);
}

/* The pod's number of flows; NULL if there is no room to count them. */
static __always_inline __u32 *flows_of(const struct addr *pod)
{
	__u32 *count = bpf_map_lookup_elem(&pod_flows, pod), zero = 0;

	if (count)
		return count;
	bpf_map_update_elem(&pod_flows, pod, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&pod_flows, pod);
}

/* Ends a flow. Its port towards the remote end is free. */
static __noinline void end_flow(const struct flow_key *key, const struct flow *flow, enum flow_event why)
{
	__u32 *count = bpf_map_lookup_elem(&pod_flows, &key->pod);
	struct return_key back_key;

	if (count && *count)
		__sync_fetch_and_add(count, -1);
	leave_mapping(key, &flow->egress);
	return_key_of(key, &flow->egress, flow->egress_port, &back_key);
	tell_ended(key, flow, bpf_map_lookup_elem(&returns, &back_key), why);
	bpf_map_delete_elem(&returns, &back_key);
	bpf_map_delete_elem(&flows, key);
}

/* A port for a flow, and its way back. `mapping` is set if the port is one towards everybody. */
static __always_inline enum reason find_port(struct __sk_buff *skb, const struct flow_key *key, const struct addr *address,
					     struct egress *egress_entry, __be16 *port, struct mapping **mapping)
{
	struct search search = { .egress = egress_entry };
	__s32 error;

	return_key_of(key, address, 0, &search.key);
	search.back.pod = key->pod;
	search.back.pod_port = key->pod_port;
	search.back.seen = now_seconds();
	search.back.opened = search.back.seen;
	search.back.link = skb->ifindex;
	error = key->protocol == IPPROTO_TCP ? reserve(&search) : map_port(key, &search, mapping);
	*port = search.key.egress_port;
	switch (error) {
	case 0:
		return GO_ON;
	case -EEXIST:
		return DROP_NO_PORT;
	default:
		return DROP_FLOWS_FULL;
	}
}

/* The way out of a flow that has a port and its way back. */
static __always_inline bool keep_flow(struct __sk_buff *skb, const struct packet *p, const struct flow_key *key,
				      const struct addr *address, __be16 port)
{
	struct flow flow = { .egress = *address, .egress_port = port, .seen = now_seconds(), .link = skb->ifindex };

	if (p->kind == KIND_TCP)
		expect_answer(skb, p, &flow);
	return !bpf_map_update_elem(&flows, key, &flow, BPF_NOEXIST);
}

/* A new flow of the pod by this egress address. GO_ON when it is there, and leaves by `port`. Not static: the kernel
 * verifies it once. */
__noinline int open_flow(struct __sk_buff *skb, const struct packet *p, const struct flow_key *key, const struct addr *address,
			 __be16 *port)
{
	const struct settings *settings = node_settings();
	struct mapping *mapping = NULL;
	struct egress *egress_entry;
	struct return_key back;
	enum reason reason;
	__u32 *count;

	if (!settings || !p || !key || !address || !port)
		return DROP_KERNEL;
	egress_entry = bpf_map_lookup_elem(&egress, address);
	if (!egress_entry)
		return DROP_EGRESS_GONE;
	if (egress_entry->path == PATH_NONE)
		return DROP_NO_GATEWAY;
	if (!egress_entry->block_count)
		return DROP_NO_BLOCK;
	count = flows_of(&key->pod);
	if (!count)
		return DROP_FLOWS_FULL;
	if (settings->pod_flows && *count >= settings->pod_flows)
		return DROP_POD_FLOWS;
	reason = find_port(skb, key, address, egress_entry, port, &mapping);
	if (reason != GO_ON)
		return reason;
	if (!keep_flow(skb, p, key, address, *port)) {
		return_key_of(key, address, *port, &back);
		bpf_map_delete_elem(&returns, &back);
		if (mapping)
			__sync_fetch_and_add(&mapping->flows, -1);
		return DROP_FLOWS_FULL;
	}
	__sync_fetch_and_add(&egress_entry->opened, 1);
	__sync_fetch_and_add(count, 1);
	return GO_ON;
}
