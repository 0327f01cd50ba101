/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Whose packet is it, where does it go, and which rule is for it: questions about the plan, not about flows. */
#pragma once
#include "packet.h"
#include "verdict.h"

static __always_inline bool is_inside(const struct addr *addr)
{
	struct network key = { .prefix = 128, .addr = *addr };

	return bpf_map_lookup_elem(&inside, &key) != NULL;
}

/* The direction to a pod by its link: out of the host's end of its own, and into the parent of its macvlan, which hands each of
 * its pods what came for them. */
static __always_inline __u64 towards(const struct pod *pod)
{
	return pod->shared ? BPF_F_INGRESS : 0;
}

/* A packet from a source that this link does not own. */
static __always_inline enum reason stranger(const struct packet *p, const struct settings *settings, enum reason why)
{
	if (is_inside(&p->dst))
		return PASS_INSIDE;
	return why == DROP_UNKNOWN_POD && !settings->hold_unknown ? PASS_UNKNOWN_POD : why;
}

static __always_inline bool rule_is_for(const struct port_rule *rule, const struct packet *p)
{
	__u16 port = bpf_ntohs(p->dport);

	if (!rule->protocol)
		return true;
	if (p->kind == KIND_FRAGMENT)	/* its port is unknown: the stricter answer */
		return rule->action == RULE_EGRESS && rule->protocol == p->protocol;
	return rule->protocol == p->protocol && rule->first <= port && port <= rule->last;
}

/* The egress address that the pod's rules choose, or NULL for the ordinary way. */
static __noinline const struct addr *chosen_egress(const struct packet *p, __u64 set)
{
	struct rule_key key = { .prefix = 64 + 128, .addr = p->dst };
	__u64 ordered = bpf_cpu_to_be64(set);
	const struct rule *rule;

	memcpy(key.set, &ordered, sizeof(ordered));
	rule = bpf_map_lookup_elem(&rules, &key);
	if (!rule)
		return NULL;
	for (__u32 i = 0; i < PORT_RULES; i++) {
		if (i >= rule->count)
			return NULL;
		if (rule_is_for(&rule->ports[i], p))
			return rule->ports[i].action == RULE_EGRESS ? &rule->ports[i].egress : NULL;
	}
	return NULL;
}
