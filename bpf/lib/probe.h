/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Is that gateway alive? The question travels the way that packets travel, and the answer comes from here, in the
 * gateway's kernel, so that a restarting agent is no death. */
#pragma once
#include "overlay.h"

#define PROBE_QUESTION 1
#define PROBE_ANSWER 2

static __always_inline struct probe *read_probe(struct __sk_buff *skb, __u8 kind)
{
	struct probe *probe = bytes(skb, ETH_HLEN, sizeof(*probe));

	return probe && probe->magic == bpf_htonl(PROBE_MAGIC) && probe->kind == kind ? probe : NULL;
}

/* A question of this node's agent, on its way out: to the gateway that it names. */
static __always_inline enum reason send_probe(struct __sk_buff *skb)
{
	struct probe *probe = read_probe(skb, PROBE_QUESTION);
	const struct settings *settings = node_settings();
	struct addr target;

	if (!probe)
		return GO_ON;	/* an answer has its way already */
	target = probe->target;
	if (!settings || !overlay_macs(skb, settings) || !set_tunnel(skb, &target, VNI_PROBE))
		return DROP_KERNEL;
	return SENT_PROBE;
}

/* A question of another node. Answers pass to the agent. */
static __always_inline enum reason answer_probe(struct __sk_buff *skb, const struct settings *settings, const struct addr *node)
{
	struct probe *probe = read_probe(skb, PROBE_QUESTION);

	if (!probe)
		return read_probe(skb, PROBE_ANSWER) ? PASS_NOT_IP : DROP_FOREIGN_INNER;
	if (!same(&probe->target, &settings->underlay))
		return DROP_FOREIGN_INNER;
	probe->kind = PROBE_ANSWER;
	probe->ready = settings->ready;
	return to_node(skb, settings, node, VNI_PROBE, ANSWERED_PROBE);
}
