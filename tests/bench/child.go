package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// task is what this program does in a process of its own when the first argument says so: what it needs of memory and processor time is
// then told apart from the load's. Its only other argument is its configuration, as JSON.
type task struct {
	name string
	run  func(ctx context.Context, config []byte) (result any, err error)
}

// tasks is a function because a task may start others.
func tasks() []task {
	return []task{
		{"child-echo", func(ctx context.Context, config []byte) (any, error) { return nil, decoded(config, ctx, serveEcho) }},
		{"child-ceiling", func(ctx context.Context, config []byte) (any, error) {
			var came ceiling
			return &came, decoded(config, ctx, func(ctx context.Context, c ceilingConfig) (err error) {
				came, err = measureCeiling(ctx, c)
				return err
			})
		}},
		{"child-fill", func(ctx context.Context, config []byte) (any, error) {
			var came fillReport
			return &came, decoded(config, ctx, func(ctx context.Context, c fillConfig) (err error) {
				came, err = fill(ctx, c)
				return err
			})
		}},
	}
}

func decoded[C any](config []byte, ctx context.Context, run func(context.Context, C) error) error {
	var c C
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	return run(ctx, c)
}

// runTask does what the arguments of a process say, if they name a task, until SIGTERM or the end of the process that started it.
func runTask(arguments []string) (done bool, err error) {
	for _, t := range tasks() {
		if len(arguments) != 3 || arguments[1] != t.name {
			continue
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		result, err := t.run(ctx, []byte(arguments[2]))
		if err == nil && result != nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
		return true, err
	}
	return false, nil
}

// exitIfTask ends the process if its arguments name a task.
func exitIfTask() {
	done, err := runTask(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if done {
		os.Exit(0)
	}
}

// taskArguments are the arguments with which this program does a task.
func taskArguments(name string, config any) []string {
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // the configurations are structs of numbers and texts
	}
	return []string{name, string(text)}
}

// startTask does a task in a process of its own and reads its result.
func startTask(ctx context.Context, name string, config, result any) error {
	us, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, us, taskArguments(name, config)...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return json.Unmarshal(out, result)
}
