// flanneld as a cluster of tests needs it: subnets from the Kubernetes API, backends vxlan and host-gw, nftables. Its own
// main cannot be built here: it imports the SDK of a cloud.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	log "k8s.io/klog/v2"
)

const annotations = "flannel.alpha.coreos.com"

var (
	kubeconfig = flag.String("kubeconfig-file", "", "kubeconfig of the API server")
	network    = flag.String("net-config-path", "/etc/kube-flannel/net-conf.json", "network configuration")
	device     = flag.String("iface", "eth0", "interface that the nodes reach each other by")
	leases     = flag.String("subnet-file", "/run/flannel/subnet.env", "where the node's subnet is written to")
)

func main() {
	log.InitFlags(nil)
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var running sync.WaitGroup
	err := run(ctx, &running)
	cancel()
	running.Wait()
	if err != nil {
		log.Exit(err)
	}
}

func run(ctx context.Context, running *sync.WaitGroup) error {
	subnets, err := kube.NewSubnetManager(ctx, "", *kubeconfig, annotations, *network, true)
	if err != nil {
		return fmt.Errorf("subnets: %w", err)
	}
	config, err := subnets.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("network configuration: %w", err)
	}
	families, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	outside, err := ipmatch.LookupExtIface(*device, "", "", families, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("interface %s: %w", *device, err)
	}
	kind, err := backend.NewManager(ctx, subnets, outside).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	overlay, err := kind.RegisterNetwork(ctx, running, config)
	if err != nil {
		return fmt.Errorf("register the network: %w", err)
	}
	rules := &nftables.NFTablesManager{}
	if err := rules.Init(ctx); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, 5)
	lease := overlay.Lease()
	if err := subnets.HandleSubnetFile(*leases, config, false, lease.Subnet, lease.IPv6Subnet, overlay.MTU()); err != nil {
		return fmt.Errorf("subnet file: %w", err)
	}
	log.Info("flannel is ready")
	running.Add(1)
	go func() {
		defer running.Done()
		overlay.Run(ctx)
	}()
	if err := subnets.CompleteLease(ctx, lease, running); err != nil {
		return fmt.Errorf("complete the lease: %w", err)
	}
	<-ctx.Done()
	return nil
}
