package main

import (
	"errors"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// Where the API server finds etcd: a socket in the working directory, since the path of a socket has at most 108 bytes.
const etcdAddress = "unix://etcd.sock"

// startEtcd starts a cluster of one in this process, its data in the working directory.
func startEtcd() error {
	address, err := url.Parse(etcdAddress)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir = "etcd"
	config.ListenClientUrls = []url.URL{*address}
	config.ListenPeerUrls = nil
	config.LogLevel = "error"
	// One member votes for itself: there is nobody to wait for.
	config.TickMs, config.ElectionMs = 10, 100
	// What is written survives this process, which is killed, and need not survive the machine.
	config.UnsafeNoFsync = true
	wal.SegmentSizeBytes = 4 << 20
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return err
	case <-time.After(30 * time.Second):
		return errors.New("etcd is not ready after 30 s")
	}
}
