// Command ferretdb serves MongoDB's wire protocol from SQLite, with a replica set's name and passwords: the server of the
// tests, and the stand-in of mongod in the peer image. It is no mongod; docs/seen.md says what follows from that.
//
// The module is named as if it lay below FerretDB's own, since what turns passwords on is internal there.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/internal/clientconn"
	"github.com/FerretDB/FerretDB/internal/clientconn/connmetrics"
	"github.com/FerretDB/FerretDB/internal/handler/registry"
	"github.com/FerretDB/FerretDB/internal/util/password"
	"github.com/FerretDB/FerretDB/internal/util/state"
)

const (
	version  = "1.24.0"
	passWord = "FERRETDB_PASSWORD"
)

type options struct {
	tcp, unix, cert, key, data, set, user string
}

func main() {
	var o options
	flag.StringVar(&o.tcp, "tcp", "", "address to listen on, such as 127.0.0.1:27017")
	flag.StringVar(&o.unix, "unix", "", "Unix socket to listen on")
	flag.StringVar(&o.cert, "tls-cert", "", "certificate: the address of -tcp then speaks TLS")
	flag.StringVar(&o.key, "tls-key", "", "its key")
	flag.StringVar(&o.data, "data", "", "folder of the data")
	flag.StringVar(&o.set, "replset", "", "name of the replica set that it says it is the primary of")
	flag.StringVar(&o.user, "user", "", "demand logins; the first user, whose password is in $"+passWord)
	show := flag.Bool("version", false, "print the version")
	flag.Parse()
	if *show {
		fmt.Println("ferretdb", version, "(a stand-in of mongod)")
		return
	}
	if err := serve(o); err != nil {
		log.Fatal(err)
	}
}

// No mongod gives an operation time twice, or one before another that it gave. FerretDB counts within a second, and begins
// at 1 when it starts: one that has an oplog already begins in a second of its own.
func awaitNextSecond(oplog string) {
	if _, err := os.Stat(oplog); err == nil {
		now := time.Now()
		time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
	}
}

func serve(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	provider, err := state.NewProvider("")
	if err != nil {
		return err
	}
	if err := provider.Update(func(s *state.State) { s.DisableTelemetry(); s.TelemetryLocked = true }); err != nil {
		return err
	}
	metrics := connmetrics.NewListenerMetrics()
	asked := &registry.NewHandlerOpts{
		Logger:        logger,
		ConnMetrics:   metrics.ConnMetrics,
		StateProvider: provider,
		TCPHost:       o.tcp,
		ReplSetName:   o.set,
		SQLiteURL:     "file:" + o.data + "/",
		TestOpts:      registry.TestOpts{CappedCleanupPercentage: 10, BatchSize: 100, EnableNewAuth: o.user != ""},
	}
	if o.user != "" {
		asked.SetupDatabase, asked.SetupUsername, asked.SetupTimeout = "admin", o.user, time.Minute
		asked.SetupPassword = password.WrapPassword(os.Getenv(passWord))
	}
	if o.set != "" {
		awaitNextSecond(o.data + "/local.sqlite")
	}
	handler, closeBackend, err := registry.NewHandler("sqlite", asked)
	if err != nil {
		return err
	}
	defer closeBackend()
	listening := &clientconn.NewListenerOpts{
		TCP: o.tcp, Unix: o.unix, Mode: clientconn.NormalMode, Metrics: metrics, Handler: handler, Logger: logger,
	}
	if o.cert != "" {
		listening.TCP, listening.TLS, listening.TLSCertFile, listening.TLSKeyFile = "", o.tcp, o.cert, o.key
	}
	listener, err := clientconn.Listen(listening)
	if err != nil {
		return err
	}
	listener.Run(ctx)
	return nil
}
