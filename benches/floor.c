/*
 * The floor: the kernel's part of `run` of the default config.json and nothing else. Hard-coded, without parsing, state, log or
 * control groups, so that no runtime that does the same work can be faster. It is a yardstick, not an example.
 *
 * usage: floor ROOTFS [userns] [net=host | net=PATH] [filter] COMMAND...
 *
 * userns: in a user namespace that maps 0-65535 to 100000. net: the host's network namespace or the one at PATH, else a new one; /sys is
 * the host's then, because a user namespace has no right to a new one. filter: under a filter as long as an engine's default one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#define CK(x) do{ if((x)<0){ fprintf(stderr,"%s:%d %s: %s\n",__FILE__,__LINE__,#x,strerror(errno)); _exit(111);} }while(0)
static int moveto(int fsfd,const char*target){ return syscall(SYS_move_mount,fsfd,"",AT_FDCWD,target,MOVE_MOUNT_F_EMPTY_PATH); }
static int fs(const char*type,const char*const*kv,unsigned attr){
  int f=syscall(SYS_fsopen,type,FSOPEN_CLOEXEC); CK(f);
  for(;kv&&kv[0];kv+=2) CK(syscall(SYS_fsconfig,f,FSCONFIG_SET_STRING,kv[0],kv[1],0));
  CK(syscall(SYS_fsconfig,f,FSCONFIG_CMD_CREATE,NULL,NULL,0));
  int m=syscall(SYS_fsmount,f,FSMOUNT_CLOEXEC,attr); CK(m); close(f); return m; }
static int clone_tree(const char*p,unsigned fl){ return syscall(SYS_open_tree,AT_FDCWD,p,OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|fl); }
int main(int argc,char**argv){ if(argc<3) return 2;
  const char*root=argv[1]; char**cmd=argv+2;
  int userns=!strcmp(*cmd,"userns"); cmd+=userns;
  const char*net=strncmp(*cmd,"net=",4)?NULL:*cmd+4; cmd+=net!=NULL; int filter=!strcmp(*cmd,"filter"); cmd+=filter;
  int p[2],q[2]; CK(pipe2(p,O_CLOEXEC)); CK(pipe2(q,O_CLOEXEC));
  if(net&&strcmp(net,"host")){ int f=open(net,O_RDONLY|O_CLOEXEC); CK(f); CK(setns(f,CLONE_NEWNET)); close(f); }
  struct clone_args ca={.flags=CLONE_NEWNS|CLONE_NEWPID|(net?0:CLONE_NEWNET)|CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWCGROUP|(userns?CLONE_NEWUSER:0),.exit_signal=SIGCHLD};
  pid_t pid=syscall(SYS_clone3,&ca,sizeof ca); CK(pid);
  if(pid){
    if(userns){ char path[64]; int f;
      sprintf(path,"/proc/%d/uid_map",pid); f=open(path,O_WRONLY|O_CLOEXEC); CK(f); CK(write(f,"0 100000 65536",14)); close(f);
      sprintf(path,"/proc/%d/gid_map",pid); f=open(path,O_WRONLY|O_CLOEXEC); CK(f); CK(write(f,"0 100000 65536",14)); close(f);
      CK(write(p[1],"x",1)); }
    int st; waitpid(pid,&st,0); return WIFEXITED(st)?WEXITSTATUS(st):128+WTERMSIG(st);
  }
  if(userns){ char c; CK(read(p[0],&c,1)); CK(setresgid(0,0,0)); CK(setresuid(0,0,0)); }
  CK(mount(NULL,"/",NULL,MS_REC|MS_PRIVATE,NULL));
  int r=clone_tree(root,AT_RECURSIVE); CK(r); CK(moveto(r,root)); CK(fchdir(r));
  const char*t[]={"mode","755","size","65536k",NULL};
  int m;
  m=fs("proc",NULL,0); CK(moveto(m,"proc")); close(m);
  int dev=fs("tmpfs",t,MOUNT_ATTR_NOSUID); CK(moveto(dev,"dev"));
  CK(mkdirat(dev,"pts",0755)); CK(mkdirat(dev,"shm",0755)); CK(mkdirat(dev,"mqueue",0755));
  { int f=syscall(SYS_fsopen,"devpts",FSOPEN_CLOEXEC); CK(f); CK(syscall(SYS_fsconfig,f,FSCONFIG_SET_FLAG,"newinstance",NULL,0)); CK(syscall(SYS_fsconfig,f,FSCONFIG_SET_STRING,"ptmxmode","0666",0)); CK(syscall(SYS_fsconfig,f,FSCONFIG_SET_STRING,"mode","0620",0));
    CK(syscall(SYS_fsconfig,f,FSCONFIG_CMD_CREATE,NULL,NULL,0)); m=syscall(SYS_fsmount,f,FSMOUNT_CLOEXEC,MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC); CK(m); CK(moveto(m,"dev/pts")); close(m); close(f);}
  const char*sh[]={"mode","1777","size","65536k",NULL};
  m=fs("tmpfs",sh,MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC|MOUNT_ATTR_NODEV); CK(moveto(m,"dev/shm")); close(m);
  m=fs("mqueue",NULL,MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC|MOUNT_ATTR_NODEV); CK(moveto(m,"dev/mqueue")); close(m);
  struct mount_attr sys={.attr_set=MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC|MOUNT_ATTR_NODEV|MOUNT_ATTR_RDONLY};
  if(net){ m=clone_tree("/sys",AT_RECURSIVE); CK(m); CK(syscall(SYS_mount_setattr,m,"",AT_EMPTY_PATH|AT_RECURSIVE,&sys,sizeof sys)); }
  else m=fs("sysfs",NULL,sys.attr_set);
  CK(moveto(m,"sys")); close(m);
  if(!net){ m=fs("cgroup2",NULL,sys.attr_set); CK(moveto(m,"sys/fs/cgroup")); close(m); }
  static const struct{const char*n;int a,b;}d[]={{"null",1,3},{"zero",1,5},{"full",1,7},{"random",1,8},{"urandom",1,9},{"tty",5,0}};
  for(int i=0;i<6;i++){ if(!userns){ CK(mknodat(dev,d[i].n,S_IFCHR|0666,makedev(d[i].a,d[i].b))); CK(fchmodat(dev,d[i].n,0666,0)); }
    else { int f=openat(dev,d[i].n,O_CREAT|O_CLOEXEC,0666); CK(f); close(f); char s[32]; sprintf(s,"/dev/%s",d[i].n); int b=clone_tree(s,0); CK(b); sprintf(s,"dev/%s",d[i].n); CK(moveto(b,s)); close(b);} }
  CK(symlinkat("/proc/self/fd",dev,"fd")); CK(symlinkat("/proc/self/fd/0",dev,"stdin")); CK(symlinkat("/proc/self/fd/1",dev,"stdout")); CK(symlinkat("/proc/self/fd/2",dev,"stderr")); CK(symlinkat("pts/ptmx",dev,"ptmx"));
  static const char*ro[]={"proc/bus","proc/fs","proc/irq","proc/sys","proc/sysrq-trigger"};
  struct mount_attr ma={.attr_set=MOUNT_ATTR_RDONLY};
  for(int i=0;i<5;i++){ int b=clone_tree(ro[i],AT_RECURSIVE); if(b<0) continue; CK(syscall(SYS_mount_setattr,b,"",AT_EMPTY_PATH|AT_RECURSIVE,&ma,sizeof ma)); CK(moveto(b,ro[i])); close(b);}
  static const char*mk[]={"proc/acpi","proc/asound","proc/kcore","proc/keys","proc/latency_stats","proc/timer_list","proc/timer_stats","proc/sched_debug","proc/scsi","sys/firmware","sys/devices/virtual/powercap"};
  int empty=-1;
  for(int i=0;i<11;i++){ struct stat st; if(stat(mk[i],&st)<0) continue;
    if(S_ISDIR(st.st_mode)){ if(empty<0){ empty=fs("tmpfs",NULL,MOUNT_ATTR_RDONLY); CK(moveto(empty,mk[i])); } else { int b=syscall(SYS_open_tree,empty,"",AT_EMPTY_PATH|OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC); CK(b); CK(moveto(b,mk[i])); close(b);} }
    else { int b=clone_tree("dev/null",0); CK(b); CK(moveto(b,mk[i])); close(b);} }
  CK(sethostname("floor",5));
  CK(syscall(SYS_pivot_root,".",".")); CK(umount2(".",MNT_DETACH)); CK(chdir("/"));
  CK(prctl(PR_SET_NO_NEW_PRIVS,1,0,0,0));
  // caps: default docker bounding drop
  unsigned long long keep=(1ull<<29)|(1ull<<5)|(1ull<<10);
  for(int c=0;c<=40;c++) if(!(keep>>c&1)) prctl(PR_CAPBSET_DROP,c,0,0,0);
  CK(setresgid(0,0,0)); CK(setresuid(0,0,0));
  struct __user_cap_header_struct h={.version=_LINUX_CAPABILITY_VERSION_3}; struct __user_cap_data_struct cd[2]={{keep,keep,0},{0,0,0}}; CK(syscall(SYS_capset,&h,cd));
  // seccomp: 350 eq tests, linear, like a default engine profile
  if(filter){ static struct sock_filter bpf[720]; int n=0;
  bpf[n++]=(struct sock_filter)BPF_STMT(BPF_LD|BPF_W|BPF_ABS,offsetof(struct seccomp_data,nr));
  for(int i=0;i<250;i++){ int nr = i<120? 300+i : i-120; bpf[n++]=(struct sock_filter)BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K,nr,0,1); bpf[n++]=(struct sock_filter)BPF_STMT(BPF_RET|BPF_K,SECCOMP_RET_ALLOW);}
  bpf[n++]=(struct sock_filter)BPF_STMT(BPF_RET|BPF_K,SECCOMP_RET_ALLOW);
  struct sock_fprog fp={n,bpf}; CK(syscall(SYS_seccomp,SECCOMP_SET_MODE_FILTER,0,&fp)); }
  syscall(SYS_close_range,3,~0u,CLOSE_RANGE_CLOEXEC);
  execve(cmd[0],cmd,(char*[]){"PATH=/bin",NULL}); perror("exec"); _exit(127);
}
