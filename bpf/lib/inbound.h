/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Towards a pod. What comes back to an egress address goes onto the pod's link at once; what comes the ordinary
 * way from outside is only noted, so that the pod's answers are known as answers. */
#pragma once
#include "classify.h"
#include "fragment.h"
#include "icmp_error.h"
#include "link_probe.h"
#include "mss.h"

static __always_inline enum reason onto_link(struct __sk_buff *skb, const struct pod *pod)
{
	if (!set_macs(skb, pod->mac, pod->host_mac))
		return DROP_KERNEL;
	if (pod->shared)
		return redirected(bpf_redirect(pod->link, towards(pod)), SENT_POD);
	return redirected(bpf_redirect_peer(pod->link, 0), SENT_POD);
}

/* A packet to (egress address, port): to the pod that has the flow. */
static __always_inline enum reason answer_to_pod(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	struct return_key key = {};
	struct return_flow *back;
	const struct pod *pod;
	struct addr pod_addr;
	__be16 pod_port;

	key.egress = p->dst;
	key.remote = p->src;
	key.egress_port = p->dport;
	key.remote_port = p->sport;
	key.protocol = p->protocol;
	back = bpf_map_lookup_elem(&returns, &key);
	if (!back)
		return DROP_NO_RETURN;
	if (!touch_return(&key, back, p))
		return DROP_OUT_OF_WINDOW;
	pod_addr = back->pod;
	pod_port = back->pod_port;
	pod = bpf_map_lookup_elem(&pods, &pod_addr);
	if (!pod || pod->link != back->link)
		return DROP_POD_GONE;
	remember(p, FRAGMENT_TO_POD, &pod_addr, p->id, 0);
	clamp_mss(skb, p, settings);
	if (!age(skb, p) || !rewrite(skb, p, DESTINATION, &pod_addr, pod_port))
		return DROP_KERNEL;
	return onto_link(skb, pod);
}

/* An error about a packet that left as (egress address, port). It keeps no flow alive and ends none. */
__noinline int error_to_pod(struct __sk_buff *skb, const struct packet *p)
{
	struct packet quoted = {};
	struct return_key key = {};
	const struct return_flow *back;
	const struct pod *pod;
	struct addr pod_addr;
	enum reason reason;
	__be16 pod_port;

	if (!p)
		return DROP_KERNEL;
	reason = read_quoted(skb, p, &quoted);
	if (reason != GO_ON)
		return reason;
	key.egress = quoted.src;
	key.remote = quoted.dst;
	key.egress_port = quoted.sport;
	key.remote_port = quoted.dport;
	key.protocol = quoted.protocol;
	back = bpf_map_lookup_elem(&returns, &key);
	if (!back || !same(&quoted.src, &p->dst))
		return DROP_ICMP_UNMATCHED;
	pod_addr = back->pod;
	pod_port = back->pod_port;
	pod = bpf_map_lookup_elem(&pods, &pod_addr);
	if (!pod || pod->link != back->link)
		return DROP_POD_GONE;
	if (!age(skb, p) || !rewrite_quoted(skb, p, &quoted, SOURCE, &pod_addr, pod_port) ||
	    !rewrite_error(skb, p, DESTINATION, &pod_addr))
		return DROP_KERNEL;
	return onto_link(skb, pod);
}

/* A fragment without ports goes where its first one went. */
static __always_inline enum reason later_to_pod(struct __sk_buff *skb, const struct packet *p)
{
	const struct fragment *found = recall(p, FRAGMENT_TO_POD);
	const struct pod *pod;
	struct addr pod_addr;

	if (!found)
		return DROP_FRAGMENT;
	pod_addr = found->to;
	pod = bpf_map_lookup_elem(&pods, &pod_addr);
	if (!pod)
		return DROP_POD_GONE;
	if (!age(skb, p) || !rewrite_address(skb, p, DESTINATION, &pod_addr))
		return DROP_KERNEL;
	return onto_link(skb, pod);
}

static __always_inline enum reason to_pod_of_flow(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	if (p->ttl <= 1)
		return hear_link_answer(skb, p, settings);
	switch (p->kind) {
	case KIND_TCP:
	case KIND_UDP:
	case KIND_ECHO_REPLY:
		return answer_to_pod(skb, p, settings);
	case KIND_ICMP_ERROR:
		return error_to_pod(skb, p);
	case KIND_FRAGMENT:
		return later_to_pod(skb, p);
	}
	return DROP_NO_RETURN;
}

static __always_inline void note_inbound(struct __sk_buff *skb)
{
	struct flow_key key = {};
	struct packet p = {};
	const struct pod *pod;
	__u32 now;

	if (read_addresses(skb, &p) != GO_ON)
		return;
	pod = bpf_map_lookup_elem(&pods, &p.dst);
	if (!pod || !pod->rules || is_inside(&p.src))
		return;
	if (read_ports(skb, &p) != GO_ON || !has_ports(&p) || p.kind == KIND_ECHO_REPLY)
		return;
	key.pod = p.dst;
	key.remote = p.src;
	key.protocol = p.protocol;
	if (p.kind == KIND_ECHO_REQUEST) {
		key.remote_port = p.sport;	/* the pod's echo reply has the id there */
	} else {
		key.pod_port = p.dport;
		key.remote_port = p.sport;
	}
	if (bpf_map_lookup_elem(&inbound, &key))
		return;
	now = now_seconds();
	bpf_map_update_elem(&inbound, &key, &now, BPF_ANY);
}
