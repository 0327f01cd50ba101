// Command kube is a Kubernetes control plane in one program, for the lab: what the project's own packages give, with an etcd
// in the API server's process. It is called as `kube kubectl ...`, or by a link that is called kubectl.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = `usage: kube apiserver --dir DIR --address IP [--port N] [--outlive] [-- FLAGS OF kube-apiserver]
       kube kubectl | controller-manager | scheduler | proxy ARGUMENTS`

func main() {
	name, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	if name != "kubectl" {
		if len(arguments) == 0 {
			fail(usage)
		}
		name, arguments = arguments[0], arguments[1:]
	}
	// The commands read their arguments from here, and name themselves after the first.
	os.Args = append([]string{name}, arguments...)
	switch name {
	case "apiserver":
		apiserver(arguments)
	case "kubectl":
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
	case "controller-manager":
		run(controllers.NewControllerManagerCommand())
	case "scheduler":
		run(scheduler.NewSchedulerCommand())
	case "proxy":
		run(proxy.NewProxyCommand())
	default:
		fail(usage)
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func fail(words any) {
	fmt.Fprintln(os.Stderr, words)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(fmt.Errorf("kube: %w", err))
	}
}
