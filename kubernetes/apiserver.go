package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// Everything is written down who asked for what, once it is answered: what was granted and is not needed can be told.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// apiserver runs an API server with its etcd. It says on one line of JSON where it is, once it is ready.
func apiserver(arguments []string) {
	flags := flag.NewFlagSet("kube apiserver", flag.ExitOnError)
	directory := flags.String("dir", "", "where everything is kept")
	host := flags.String("address", "127.0.0.1", "the address to listen on")
	port := flags.Int("port", 0, "the port to listen on; 0: a free one, the same after a restart")
	outlive := flags.Bool("outlive", false, "go on when standard input is closed")
	check(flags.Parse(arguments))
	if *directory == "" {
		fail(usage)
	}
	check(os.MkdirAll(*directory, 0o700))
	check(os.Chdir(*directory))
	check(lock())
	if !*outlive {
		go endWithInput()
	}
	address := net.ParseIP(*host)
	if address == nil {
		check(fmt.Errorf("--address %s: not an IP address", *host))
	}
	check(choosePort(port, *host))
	check(makePKI(address))
	server := "https://" + net.JoinHostPort(*host, strconv.Itoa(*port))
	for _, name := range []string{"admin", "controller-manager", "scheduler", "proxy"} {
		check(writeKubeconfig(name, server))
	}
	check(os.WriteFile("audit-policy.yaml", []byte(auditPolicy), 0o600))
	check(startEtcd())
	go announce(server)
	command := app.NewAPIServerCommand()
	command.SetArgs(append(serverFlags(address, *port), flags.Args()...))
	run(command)
}

func serverFlags(address net.IP, port int) []string {
	// A loopback address is refused in the endpoints of the service `kubernetes`.
	reconciler := "lease"
	if address.IsLoopback() {
		reconciler = "none"
	}
	return []string{
		"--etcd-servers=" + etcdAddress,
		"--bind-address=" + address.String(),
		"--advertise-address=" + address.String(),
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=server.crt",
		"--tls-private-key-file=server.key",
		"--client-ca-file=ca.crt",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=sa.key",
		"--service-account-key-file=sa.pub",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--endpoint-reconciler-type=" + reconciler,
		"--allow-privileged=true",
		"--audit-policy-file=audit-policy.yaml",
		"--audit-log-path=audit.jsonl",
	}
}

// lock keeps a second server away from the directory.
func lock() error {
	file, err := os.OpenFile("lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// The descriptor stays open for as long as the process lives.
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("--dir: another server runs here: %w", err)
	}
	keep = file
	return nil
}

var keep *os.File

// endWithInput ends the process when whoever started it is gone.
func endWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// choosePort takes the port of the last time, or a free one.
func choosePort(port *int, host string) error {
	if *port != 0 {
		return nil
	}
	if text, err := os.ReadFile("port"); err == nil {
		*port, err = strconv.Atoi(string(text))
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	defer listener.Close()
	*port = listener.Addr().(*net.TCPAddr).Port
	return os.WriteFile("port", []byte(strconv.Itoa(*port)), 0o600)
}

// writeKubeconfig writes how a client reaches the server, by the certificate of that name.
func writeKubeconfig(name, server string) error {
	config := api.NewConfig()
	var err error
	read := func(file string) []byte {
		bytes, failure := os.ReadFile(file)
		err = errors.Join(err, failure)
		return bytes
	}
	config.Clusters["lab"] = &api.Cluster{Server: server, CertificateAuthorityData: read("ca.crt")}
	config.AuthInfos[name] = &api.AuthInfo{
		ClientCertificateData: read(name + ".crt"), ClientKeyData: read(name + ".key"),
	}
	config.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: name}
	config.CurrentContext = "lab"
	if err != nil {
		return err
	}
	return clientcmd.WriteToFile(*config, name+".kubeconfig")
}

// announce says where the server is, once it is ready.
func announce(server string) {
	path, err := filepath.Abs("admin.kubeconfig")
	check(err)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	check(err)
	client, err := kubernetes.NewForConfig(config)
	check(err)
	for {
		ready := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(context.Background())
		if ready.Error() == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]string{"kubeconfig": path, "address": server}))
}
